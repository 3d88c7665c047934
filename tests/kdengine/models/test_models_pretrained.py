"""Networks with ImageNet weights: the packaged ones on real photos, the downloads without a network."""

import urllib.error

import numpy
import pytest
import torch
from PIL import Image

from kdengine import models
from kdengine.errors import KDError
from kdengine.paths import PROJECT

PHOTOS = PROJECT.parent / "shared" / "data" / "imagenette" / "val"
IMAGENETTE = {
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497, "n03394916": 566,
    "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}
"""WordNet ids of Imagenette's ten classes, and their places among the 1000 of ImageNet."""


def photo(path, size):
    """A photo as the published scores were made: bicubic to a shorter side of size + 32, cut to the middle."""
    picture = Image.open(path).convert("RGB")
    scale = (size + 32) / min(picture.size)
    picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    pixels = numpy.array(picture.crop((left, top, left + size, top + size)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photos in {PHOTOS}")
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_the_packaged_networks_know_real_photos(name):
    """Five photos a class, only 128 pixels large. Measured on 300: 63% and 68% of 1000 classes, 96% and 98% of ten."""
    network = models.pretrained(name).eval()
    paths = [path for folder in IMAGENETTE for path in sorted((PHOTOS / folder).iterdir())[:5]]
    target = torch.tensor([place for place in IMAGENETTE.values() for _ in range(5)])
    with torch.inference_mode():
        logits = torch.cat([network(photo(path, network.input_size)[None]) for path in paths])
    ten = torch.tensor(list(IMAGENETTE.values()))
    assert (logits.argmax(1) == target).sum() >= 25
    assert (ten[logits[:, ten].argmax(1)] == target).sum() >= 45


@pytest.mark.parametrize(("name", "size", "parameters"), [
    # the table in the package's own description: 4.652 M and 6.092 M
    ("efficientnet_lite0", 224, 4_652_008), ("efficientnet_lite2", 260, 6_092_072),
])
def test_the_packaged_networks_need_no_network(name, size, parameters, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("something asked for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    network = models.pretrained(name)
    assert sum(each.numel() for each in network.parameters()) == parameters == models.parameters(name, 1000)
    assert (network.input_size, len(network.classes)) == (size, 1000)
    models.check(network)


@pytest.mark.parametrize(("size", "name"), [(0, "efficientnet_lite0"), (2, "efficientnet_lite2")])
def test_padding_computed_from_the_image_equals_the_packages_fixed_padding(size, name):
    from efficientnet_lite_pytorch import EfficientNet

    network = models.pretrained(name).eval()
    reference = EfficientNet.from_name(f"efficientnet-lite{size}").eval()
    reference.load_state_dict(network.net.state_dict())
    x = torch.randn(1, 3, network.input_size, network.input_size)
    with torch.no_grad():
        assert torch.equal(network.net(x), reference(x))


def test_the_class_names_are_those_of_imagenet():
    classes = models.pretrained("efficientnet_lite0").classes
    assert len(set(classes)) == 1000
    names = ["tench", "English springer", "cassette player", "chain saw", "church", "French horn", "garbage truck",
             "gas pump", "golf ball", "parachute"]
    assert [classes[place] for place in IMAGENETTE.values()] == names


def test_a_failed_download_says_its_size_and_what_needs_none(monkeypatch, tmp_path):
    def unreachable(*_arguments, **_options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(KDError, match=r"resnet50 \(103 MB\).*no route to host.*efficientnet_lite0"):
        models.pretrained("resnet50_imagenet")


def cached(tmp_path, monkeypatch):
    """Where torch looks for the downloaded weights of ResNet-18."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    return path


def test_downloaded_weights_are_used(monkeypatch, tmp_path):
    theirs = models.build("resnet18_imagenet", range(1000), seed=5)
    torch.save(theirs.net.state_dict(), cached(tmp_path, monkeypatch))
    ours = models.pretrained("resnet18_imagenet")
    assert ours.input_size == 224
    assert ours.classes[0] == "tench"
    for key, value in theirs.net.state_dict().items():
        assert torch.equal(ours.net.state_dict()[key], value)


def test_a_damaged_download_is_named(monkeypatch, tmp_path):
    cached(tmp_path, monkeypatch).write_bytes(b"half a file")
    with pytest.raises(KDError, match=r"resnet18 \(47 MB\) is damaged.*Delete resnet18-f37072fd\.pth"):
        models.pretrained("resnet18_imagenet")


def test_networks_without_published_weights_are_refused():
    with pytest.raises(KDError, match="Unknown network with ImageNet weights 'resnet20'"):
        models.pretrained("resnet20")

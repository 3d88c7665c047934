"""A model of the user's own, by reference."""

import itertools
import sys

import pytest
import torch
from torch import nn

from kdengine import models, trust
from kdengine.errors import KDError
from kdengine.models.custom import find_stages
from kdengine.signals import Stage

CLASSES = ("cat", "dog", "eel")
PREAMBLE = "import torch\nfrom torch import nn\nfrom kdengine.signals import Stage\n"
SMALL = """
def small(classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, classes),
    )
"""
numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the current folder, under a name no other test has used, and returns that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("KDENGINE_TRUST", "package_of_test")

    def write(code):
        name = f"networks_of_test_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(PREAMBLE + code)
        trust.add(f"{name}:")
        return name

    return write


def test_it_is_found_in_the_current_folder_and_built_from_the_seed(module):
    reference = f"{module(SMALL)}:small"
    models.require(reference)
    before = torch.get_rng_state()
    first, again, other = (models.build(reference, CLASSES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.net[0].weight, again.net[0].weight)
    assert not torch.equal(first.net[0].weight, other.net[0].weight)
    assert (first.architecture, first.classes, first.input_size) == (reference, CLASSES, 32)
    assert first.mean == (0.485, 0.456, 0.406)
    assert first.training
    assert all(each.training for each in first.net)


def test_stages_are_found_as_the_last_map_of_each_resolution(module):
    network = models.build(f"{module(SMALL)}:small", CLASSES)
    assert network.stages == (Stage("stage1", "net.1", 8, 1), Stage("stage2", "net.5", 12, 2))
    larger = models.build(network.architecture, CLASSES, input_size=48)
    assert (larger.input_size, larger.stages) == (48, network.stages)


def test_a_package_is_found_too(module, tmp_path):
    package = tmp_path / "package_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(PREAMBLE + SMALL)
    assert len(models.build("package_of_test.nets:small", CLASSES).stages) == 2


@pytest.mark.parametrize("name", ["resnet8", "resnet20a", "resnet18", "resnet50"])
def test_found_stages_of_known_networks_are_their_declared_ones(name):
    assert find_stages(models.build(name, CLASSES).net, 32) == models.MODELS[name].stages


def test_found_stages_of_a_preactivated_network_end_with_its_last_relu():
    declared = models.MODELS["wrn_16_1"].stages
    found = find_stages(models.build("wrn_16_1", CLASSES).net, 32)
    assert found == (*declared[:2], Stage("stage3", "net.relu", 64, 4))


def test_found_stages_of_vgg_are_the_relus_before_its_poolings_but_for_the_last_map():
    """The whole of `features` is the shallowest module that ends at 1x1, and so no map; the enlarging pool is none."""
    net = models.build("vgg11_bn", CLASSES).net
    assert find_stages(net, 32) == models.MODELS["vgg11_bn"].stages
    # at 64 pixels the pooled map is 2x2, and `features` as a whole ends with it
    assert [stage.path for stage in find_stages(net, 64)] == [
        "net.features.2", "net.features.6", "net.features.13", "net.features.20", "net.features.27", "net.features"]


class Shared(nn.Module):
    """One ReLU for every resolution, a decoder that enlarges, and a convolution that is no whole fraction."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.third = nn.Conv2d(5, 6, 4)
        self.relu = nn.ReLU()
        self.enlarge = nn.Upsample(size=32)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.relu(self.third(self.relu(self.second(self.relu(self.first(x))))))
        return self.head(self.enlarge(x).mean((2, 3)))


def test_what_cannot_be_a_stage_is_left_out():
    net = Shared()
    assert find_stages(net, 32) == (Stage("stage1", "net.first", 4, 1), Stage("stage2", "net.second", 5, 2))
    assert net.training
    assert all(not each._forward_hooks for each in net.modules())


def test_a_network_without_maps_has_no_stages(module):
    code = "def flat(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))\n"
    assert models.build(f"{module(code)}:flat", CLASSES).stages == ()


DECLARING = SMALL + """
def declaring(classes):
    net = small(classes)
    net.stages = [("2", 8, 2), Stage("deep", "5", 12, 2)]
    net.input_size, net.mean, net.std = 20, (0.1, 0.2, 0.3), [1, 2, 3]
    return net
"""


def test_what_the_module_says_of_itself_holds_where_nothing_else_is_given(module):
    reference = f"{module(DECLARING)}:declaring"
    network = models.build(reference, CLASSES)
    assert network.stages == (Stage("stage1", "net.2", 8, 2), Stage("deep", "net.5", 12, 2))
    assert (network.input_size, network.mean, network.std) == (20, (0.1, 0.2, 0.3), (1, 2, 3))
    given = models.build(reference, CLASSES, input_size=24, mean=(0, 0, 0), std=(1, 1, 1))
    assert (given.input_size, given.mean, given.std) == (24, (0, 0, 0), (1, 1, 1))


SEGMENTING = """
class Cells(nn.Module):
    task = "segmentation"

    def __init__(self, classes):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, classes, 1)
        self.stages = [("first", 6, 1), ("second", 8, 2)]

    def forward(self, x):
        return self.head(self.second(self.first(x)))

def flat(classes):
    net = nn.Sequential(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.task = "segmentation"
    return net

def more(classes):
    return Cells(classes + 1)

def of_that_name(classes):
    net = Cells(classes)
    net.head = nn.Sequential(net.head, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.task = "detection"
    return net
"""


def test_a_module_that_segments_says_so_and_may_answer_in_cells(module):
    name = module(SEGMENTING)
    network = models.build(f"{name}:Cells", CLASSES)
    assert (network.task, network.input_size) == ("segmentation", 32)
    assert network.stages == (Stage("stage1", "net.first", 6, 1), Stage("stage2", "net.second", 8, 2))
    images = torch.rand(2, 3, 24, 40)
    cells = network.net((images - network._mean) / network._std)
    assert cells.shape == (2, 3, 12, 20)
    enlarged = nn.functional.interpolate(cells, size=(24, 40), mode="bilinear", align_corners=False)
    assert torch.equal(network(images), enlarged)
    assert models.build(f"{name}:of_that_name", CLASSES).task == "classification"


@pytest.mark.parametrize(("name", "sentence"), [
    ("flat", r"cannot take images \[2, 3, 32, 32\] \(ValueError"),
    ("more", r"returns logits \[2, 4, 32, 32\]; must be \[2, 3, 32, 32\]"),
])
def test_a_module_that_says_it_segments_is_held_to_it(module, name, sentence):
    with pytest.raises(KDError, match=sentence):
        models.build(f"{module(SEGMENTING)}:{name}", CLASSES)


def test_submodules_and_tensors_of_those_names_are_not_declarations(module):
    code = """
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, stride=2, padding=1)])
        self.register_buffer("mean", torch.zeros(3))
        self.fc = nn.Linear(5, classes)

    def forward(self, x):
        return self.fc(self.stages[1](self.stages[0](x)).mean((2, 3)))
"""
    network = models.build(f"{module(code)}:Net", CLASSES)
    assert [stage.path for stage in network.stages] == ["net.stages.0", "net.stages.1"]
    assert network.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("reference", ["nowhere:", ":small", "nowhere:a.b", "nowhere:a:b"])
def test_a_reference_that_is_none_is_refused(reference):
    with pytest.raises(KDError, match=r"names no model. Write package\.module:name"):
        models.build(reference, CLASSES)


def test_a_name_without_colon_is_an_unknown_network():
    with pytest.raises(KDError, match=r"Unknown network 'my_networks'.*package\.module:function"):
        models.build("my_networks", CLASSES)


def test_a_module_that_cannot_be_imported_says_why(module, tmp_path):
    trust.add("not_there:small")
    with pytest.raises(KDError, match=f"ModuleNotFoundError: No module named 'not_there'.*{tmp_path}"):
        models.build("not_there:small", CLASSES)
    with pytest.raises(KDError, match="ZeroDivisionError"):
        models.require(f"{module('1 / 0')}:small")
    with pytest.raises(KDError, match="SyntaxError"):
        models.require(f"{module('def (')}:small")


BROKEN = SMALL + """
limit = 3
def raises(classes):
    raise RuntimeError("out of ideas")
def no_module(classes):
    return "a network"
def wrong_logits(classes):
    return small(classes + 1)
def pair(classes):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()
def too_small(classes):
    return nn.Sequential(nn.Conv2d(3, 4, 40), nn.Flatten(), nn.LazyLinear(classes))
def declared(stages):
    def build(classes):
        net = small(classes)
        net.stages = stages
        return net
    return build
wrong_channels = declared([("1", 9, 1)])
no_layer = declared([("layer1", 8, 1)])
not_a_stage = declared(["1"])
no_stride = declared([("1", 8, 0)])
twice = declared([Stage("same", "1", 8, 1), Stage("same", "5", 12, 2)])
def wrong_size(classes):
    net = small(classes)
    net.input_size = (32, 32)
    return net
def wrong_mean(classes):
    net = small(classes)
    net.mean = (0.5,)
    return net
def wrong_std(classes):
    net = small(classes)
    net.std = (0.5, 0.0, 0.5)
    return net
def unused_layer(classes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.spare = small(classes), nn.Conv2d(3, 3, 1)
            self.stages = [("spare", 3, 1)]
        def forward(self, x):
            return self.body(x)
    return Net()
"""


@pytest.mark.parametrize(("name", "sentence"), [
    ("missing", "has no model 'missing'"),
    ("limit", "is no function that makes a network; it is a int"),
    ("raises", r"raises\(3\) raised RuntimeError: out of ideas"),
    ("no_module", r"returned a str; it must return a torch\.nn\.Module"),
    ("wrong_logits", r"returns logits \[2, 4\]; must be \[2, 3\]"),
    ("pair", r"returns a tuple; must be one tensor \[2, 3\]"),
    ("too_small", r"cannot take images \[2, 3, 32, 32\] \(RuntimeError"),
    ("wrong_channels", r"stage1 gives \[2, 8, 32, 32\]; declared is \[2, 9, 32, 32\]"),
    ("no_layer", "stage1 names a layer that is not there"),
    ("not_a_stage", r"stages hold '1'; each must be \(path, channels, stride\) or a Stage"),
    ("no_stride", r"stages hold \('1', 8, 0\)"),
    ("twice", "stages share a name: same, same"),
    ("wrong_size", r"input_size is \(32, 32\); allowed is a number from 8 to 1024"),
    ("wrong_mean", r"wrong_mean's mean is \[0\.5\]; must be three finite numbers"),
    ("wrong_std", r"wrong_std's std is \[0\.5, 0\.0, 0\.5\]; images are divided by it"),
    ("unused_layer", r"a stage names a layer that puts out no tensor in a forward \('stage1'\)"),
])
def test_what_is_wrong_is_said_in_a_sentence(module, name, sentence):
    with pytest.raises(KDError, match=sentence):
        models.build(f"{module(BROKEN)}:{name}", CLASSES)


PROBABLE = SMALL + """
def softmax(classes):
    return nn.Sequential(small(classes), nn.Softmax(dim=1))
def log_softmax(classes):
    return nn.Sequential(small(classes), nn.LogSoftmax(dim=1))
def sum_of_one(classes):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small(classes)
        def forward(self, x):
            x = 3 * self.body(x)
            return x - x.mean(1, keepdim=True) + 1 / classes
    return Shifted()
def masks(classes):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1), nn.Softmax(dim=1))
    net.task = "segmentation"
    return net
"""


@pytest.mark.parametrize("name", ["softmax", "masks"])
def test_a_network_that_ends_in_softmax_is_refused(module, name):
    with pytest.raises(KDError, match=r"returns probabilities: .* Return the logits; take the softmax at the end away"):
        models.build(f"{module(PROBABLE)}:{name}", CLASSES)


@pytest.mark.parametrize("name", ["log_softmax", "sum_of_one"])
def test_logits_that_are_no_probabilities_are_taken(module, name):
    """The logarithms of probabilities are logits; numbers that add up to 1 may be negative."""
    assert models.build(f"{module(PROBABLE)}:{name}", CLASSES).classes == CLASSES


@pytest.mark.parametrize("size", [0, 7, 1025, 10**6, 32.0, "32", True])
def test_a_size_that_no_network_takes_is_refused(module, size):
    with pytest.raises(KDError, match=r"input_size is .*; allowed is a number from 8 to 1024"):
        models.build(f"{module(SMALL)}:small", CLASSES, input_size=size)
    own = f"{SMALL}def own(classes):\n    net = small(classes)\n    net.input_size = {size!r}\n    return net\n"
    with pytest.raises(KDError, match=r"input_size is .*; allowed is a number from 8 to 1024"):
        models.build(f"{module(own)}:own", CLASSES)


def vision_transformer(**changes):
    from torchvision.models import VisionTransformer

    given = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
    return VisionTransformer(**given | changes, num_classes=3)


def swin_transformer():
    from torchvision.models import SwinTransformer

    return SwinTransformer(patch_size=[4, 4], embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=[4, 4],
                           num_classes=3)


class Mixed(nn.Module):
    """Convolutions, then tokens: `layers` encoder layers behind them, and where `back`, a map again."""

    def __init__(self, layers, width=16, back=False):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, 4, 1))
        self.encoder = nn.Sequential(*(nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)
                                       for _ in range(layers)))
        self.last = nn.Conv2d(width, 6, 3, padding=1) if back else None
        self.head = nn.Linear(6 if back else width, 3)

    def forward(self, x):
        x = self.first(x)
        tokens = self.encoder(x.flatten(2).transpose(1, 2))
        if self.last is None:
            return self.head(tokens.mean(1))
        return self.head(self.last(tokens.transpose(1, 2).unflatten(2, x.shape[2:])).mean((2, 3)))


class ChannelsLast(nn.Module):
    """A patch embedding, then blocks on [B, h, w, channels]."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(*(nn.Linear(16, 16) for _ in range(6)))
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.blocks(self.embedding(x).permute(0, 2, 3, 1)).mean((1, 2)))


@pytest.mark.parametrize("make", [vision_transformer, ChannelsLast, lambda: Mixed(3)],
                         ids=["vit", "channels last", "mostly tokens"])
def test_a_transformer_s_patch_embedding_is_no_stage(make):
    assert find_stages(make(), 32) == ()


def test_maps_that_a_network_mostly_consists_of_or_comes_back_to_are_stages():
    assert [stage.path for stage in find_stages(Mixed(1, width=64), 32)] == ["net.first.1", "net.first"]
    assert [stage.path for stage in find_stages(Mixed(3, back=True), 32)] == ["net.first.1", "net.last"]
    assert find_stages(swin_transformer(), 32)[-1].path == "net.permute"  # the last block's, as maps again

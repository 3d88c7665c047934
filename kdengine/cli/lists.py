"""What there is: `data`, `models`, `methods`, and `speeds`, how this machine runs them."""

from __future__ import annotations

import argparse
from typing import Any

from kdengine import trust
from kdengine.cli.parsing import DEFAULTS, Commands, add_json
from kdengine.cli.printing import print_json, print_table
from kdengine.configuration import DEVICES


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    data = commands.add("data", _data, "List data sets, or look at one.")
    data.add_argument("name", nargs="?", help="a data set, or folder:PATH")
    data.add_argument("--download", action="store_true", help="fetch it into the data root")
    data.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the images after decoding")
    add_json(data)

    models = commands.add("models", _models, "List architectures.")
    add_json(models)

    speeds = commands.add("speeds", _speeds, "Say how this machine runs networks, and settle it by a measurement.")
    speeds.add_argument("model", nargs="*", help="architectures to measure; no measurement without")
    speeds.add_argument("--image-size", type=int, default=32, metavar="PIXELS", help="side of the images (%(default)s)")
    speeds.add_argument("--classes", type=int, default=10, help="(%(default)s)")
    speeds.add_argument("--batch-size", type=int, default=DEFAULTS["batch_size"], help="(%(default)s)")
    speeds.add_argument("--threads", type=int, help="CPU threads (torch's choice)")
    speeds.add_argument("--device", choices=DEVICES, default="auto")
    add_json(speeds)

    methods = commands.add("methods", _methods, "List distillation methods, or show one.")
    methods.add_argument("name", nargs="?", help="a method")
    add_json(methods)


def _data(arguments: argparse.Namespace) -> int:
    from kdengine import data

    if arguments.name is None:
        data_sets = data.describe()
        if arguments.json:
            print_json(data_sets)
        else:
            print_table(["name", "classes", "here", "download", "what it is"],
                        [[each["name"], str(each["classes"] or "–"), "yes" if each["present"] else "no",
                          _megabytes(each["download_bytes"]), each["summary"]] for each in data_sets])
        return 0
    if arguments.download:
        data.download(arguments.name)
    data_set = data.load(arguments.name, image_size=arguments.image_size)
    facts = {"name": data_set.name, "title": data_set.title, "classes": list(data_set.classes), "size": data_set.size,
             "train": len(data_set.train), "validation": len(data_set.validation), "test": len(data_set.test),
             "views": data_set.views, "digest": data_set.digest}
    if arguments.json:
        print_json({**facts, "notes": list(data_set.notes)})
    else:
        print_table(["fact", "value"], [[key, ", ".join(value) if isinstance(value, list) else str(value)]
                                        for key, value in facts.items()])
        for note in data_set.notes:
            print(note)
    return 0


def _megabytes(count: int | None) -> str:
    return f"{count / 1e6:,.0f} MB" if count else "–"


def _models(arguments: argparse.Namespace) -> int:
    import kdengine

    architectures = kdengine.list_models()
    if arguments.json:
        print_json(architectures)
    else:
        print_table(["name", "family", "input", "pretrained", "what it is"],
                    [[each["name"], each["family"], f"{each['input_size']} px", each["pretrained"] or "–",
                      each["title"]] for each in architectures])
    return 0


def _speeds(arguments: argparse.Namespace) -> int:
    import torch

    from kdengine import models
    from kdengine.devices import choose_device, cores, device_name, multiplies_bfloat16
    from kdengine.errors import out_of_range
    from kdengine.training import speeds

    device = choose_device(arguments.device)
    for option, low in (("classes", 2), ("batch_size", 2), ("image_size", 8)):
        if getattr(arguments, option) < low:
            raise out_of_range(option, getattr(arguments, option), low, None)
    if arguments.threads is not None:
        if not 1 <= arguments.threads <= cores():
            raise out_of_range("threads", arguments.threads, 1, cores())
        torch.set_num_threads(arguments.threads)
    for name in arguments.model:
        classes = [str(number) for number in range(arguments.classes)]
        network = models.build(name, classes, input_size=arguments.image_size)
        for training in (True, False):
            speeds.settle(network.to(device), arguments.batch_size, training=training)
    settled = speeds.settled(device)
    fast = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if arguments.json:
        print_json({"device": device_name(device), "threads": torch.get_num_threads(), "torch": torch.__version__,
                    "precision": fast, "settled": settled})
        return 0
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}.\n"
          f"Networks run in {fast}, on a CPU those of depthwise convolutions in float32, or as is settled for them.")
    if settled:
        print()
        print_table(["network", "classes", "input", "batch", "of", "way", "ms a step"],
                    [[each["network"], str(each["classes"]), f"{each['input_size']} px", str(each["batch_size"]),
                      "training" if each["training"] else "a forward", ", ".join(each["way"]),
                      ", ".join(f"{way} {1e3 * seconds:.1f}" for way, seconds in each["seconds"].items())]
                     for each in settled])
    else:
        print("Nothing is settled yet. Name networks to measure them, while the machine is quiet: "
              "python -m kdengine speeds resnet8 resnet20")
    return 0


def _methods(arguments: argparse.Namespace) -> int:
    import kdengine

    if arguments.name is None:
        by_name = kdengine.list_methods()
        if arguments.json:
            print_json(by_name)
        else:
            print_table(["name", "matches", "hyperparameters", "what it does"],
                        [[each["name"], each["matches"],
                          " ".join(f"{field['name']}={field['default']}" for field in each["fields"]),
                          each["summary"]] for each in by_name])
        return 0
    if ":" in arguments.name:
        trust.add(arguments.name)
    method = kdengine.method_anatomy(arguments.name)
    if arguments.json:
        print_json(method)
    else:
        _show_method(method)
    return 0


def _show_method(method: dict[str, Any]) -> None:
    print(f"{method['title']} ({method['name']})\n{method['summary']}\n\n  {method['formula']}\n\n"
          f"Matches: {method['matches']}. For {' and '.join(method['tasks'])}. Source: {method['source']}.")
    if method["fields"]:
        print()
        print_table(["field", "default", "allowed", "what it is"],
                    [[field["name"], str(field["default"]), field["allowed"], field["help"]]
                     for field in method["fields"]])
    for name, said in method["disagreements"].items():
        print(f"\nKnown disagreement of published code, {name}: {said}")
    for run in method["runs"]:
        terms = ", ".join(f"{name} ({'reads' if reads else 'no'} labels)" for name, reads in run["terms"].items())
        print(f"\n# {run['title']}\n\nTerms: {terms}.")
        if run["adapter"]:
            print(f"Trained besides the student: {run['adapter']}")
        for piece in run["code"]:
            print(f"\n# {piece['file']}\n{piece['text'].rstrip()}")

"""``mnist-fast export``."""

from __future__ import annotations

import json

import click

from mnist_fast.cli.options import options


@click.command("export", short_help="Save a network for use without this package.")
@click.argument("checkpoint")
@click.option(
    "--format",
    type=click.Choice(["onnx", "torch", "state-dict"]),
    default="onnx",
    show_default=True,
    help="torch: a torch.export program; state-dict: for torch.load.",
)
@click.option("--output", metavar="FILE", help="The file. [default: beside the checkpoint, under the network's name]")
@options("arch", "as_json")
def command(checkpoint: str, format: str, output: str | None, arch: str | None, as_json: bool) -> None:
    """Save the network of CHECKPOINT with stock operators only, so that it loads where mnist_fast is not installed.

    Its input is normalised: (pixel / 255 - mean) / std, with the numbers that are printed and in the file's metadata.
    What is written is run beside ours and must give the same.

    \b
    mnist-fast export runs/cnn --format onnx --output cnn.onnx
    """
    from mnist_fast.export import export
    from mnist_fast.prediction import class_names

    result = export(checkpoint, format, output=output, arch=arch)
    spec = result.checkpoint.spec
    if as_json:
        summary = {
            "command": "export",
            "arch": spec.arch,
            "format": format,
            "file": str(result.path),
            "mean": spec.mean,
            "std": spec.std,
            "classes": list(class_names(result.checkpoint)),
            "difference": result.difference,
        }
        click.echo(json.dumps(summary))
        return
    click.echo(f"{result.path}: {spec.arch}, input (pixel / 255 - {spec.mean}) / {spec.std}")
    if result.difference is not None:
        click.echo(f"run beside the checkpoint: outputs differ by at most {result.difference:.1e}")
    elif format == "onnx":
        click.echo('not run: onnxruntime is missing; pip install "mnist_fast[onnx]"')

"""Classes as users name them."""

import click

from dnnlib_compat.imagenet import class_index, class_names


def class_number(text, c_dim):
    """The class index that `text` (None: nothing given) names, or None for an unconditional network.

    A number, or for networks of the 1,000 ImageNet classes one of their names. For an unconditional network it is
    ignored with a warning, as by the official command. A click error when it does not fit the network, ValueError for
    an unknown name.
    """
    if c_dim == 0:
        if text is not None:
            click.echo("warn: --class=lbl ignored when running on an unconditional network")  # the official words
        return None
    if text is None:
        raise click.ClickException(f"this network is conditional: give --class, a number from 0 to {c_dim - 1}")
    if not text.strip().lstrip("-").isdecimal():
        if c_dim != len(class_names()):
            raise click.ClickException(f"{text!r} is no number, and this network's {c_dim} classes have no names here")
        return class_index(text)
    index = int(text)
    if not 0 <= index < c_dim:
        raise click.ClickException(f"class {index} is out of range, this network has classes 0 to {c_dim - 1}")
    return index

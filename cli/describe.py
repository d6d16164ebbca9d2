"""describe: what a network is, and what can be done with it."""

import json

import click

from cli.options import allow_code_option, open_network, reports_errors
from cli.paths import NetworkSource
from dnnlib_compat.companions import KINDS, companion
from dnnlib_compat.download import sha256_of
from dnnlib_compat.loader import network_file, own_discriminator
from latent_plugins.spaces import SHORT_NAMES, default_domain, default_space, spaces_of
from latent_plugins.volume.defaults import FAMILY_TOP_K, paper_top_k


@click.command()
@click.argument("network", type=NetworkSource(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@allow_code_option
@reports_errors
def main(network, as_json, allow_code):
    """Say what NETWORK is: family, sizes, prior, truncation, spaces, recommended settings, licence, checksum.

    NETWORK is a file, a folder, an address or a short name; by default the embedded network.
    """
    generator, source, entry = open_network(network, "cpu", allow_code, say=False)
    facts = facts_of(generator, source, entry)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {readable(value)}")


def facts_of(generator, source, entry):
    """What is known about a network, as a dict."""
    facts = dict(
        network=str(source),
        family=generator.family,
        resolution=generator.img_resolution,
        channels=generator.img_channels,
        z_dim=generator.z_dim,
        w_dim=generator.w_dim or None,
        classes=generator.c_dim or None,
        parameters=sum(p.numel() for p in generator.parameters()),
        prior=generator.prior_text,
        truncation=generator.truncation_text,
        domain=default_domain(generator),
        spaces=[short_name(space) for space in spaces_of(generator)],
        dataset=entry.get("dataset"),
        recommended=entry.get("recommended") or papers_settings(generator),
        licence=entry.get("licence"),
        **{kind: companion(source, kind) for kind in KINDS} | own_parts(source),
        sha256=sha256_of(network_file(source)),
    )
    return {name: value for name, value in facts.items() if value is not None}


def own_parts(source):
    """{"discriminator": in words}, where one is in the network's own file."""
    found = None if companion(source, "discriminator") else own_discriminator(source)
    if found is None:
        return {}
    size = sum(p.numel() for p in found.parameters())
    return dict(discriminator=f"in the same file (key D): {found.family}, {size} parameters")


def papers_settings(generator):
    """What the papers used for the family, where nothing is recommended for the network itself."""
    space = default_space(generator)
    top_k = paper_top_k(space, generator.family)
    known = generator.has_styles or generator.family in FAMILY_TOP_K
    return dict(
        space=short_name(space), top_k=top_k, source=f"MaGNET, for {'the family' if known else 'other families'}"
    )


def short_name(space):
    """The short name of a canonical space, or the space itself."""
    return next((name for name, full in SHORT_NAMES.items() if full == space), space)


def readable(value):
    if isinstance(value, dict):
        return ", ".join(f"{key} {readable(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    main()

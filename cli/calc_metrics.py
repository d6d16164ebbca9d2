"""calc_metrics: the ecosystem's quality metrics, with latents from any sampler."""

import json
import os
from pathlib import Path

import click

from cli.atlas_options import atlas_options
from cli.binding import SamplerCommand
from cli.evaluation import open_run, plan
from cli.launch import joined, relaunch
from cli.metric_options import evaluation_options
from cli.options import Numbers, network_options, prepare_folder, reports_errors
from cli.paths import FilePath
from cli.progress import progress_option
from cli.sampling import sampler_choice_options
from latent_plugins import distributed
from latent_plugins.metrics.lines import append_line


@click.command(cls=SamplerCommand)
@network_options
@click.option(
    "--metrics",
    "names",
    default="fid50k_full",
    show_default=True,
    metavar="A,B,C",
    help="Metrics, separated by commas.",
)
@click.option(
    "--outdir",
    type=FilePath(),
    metavar="DIR",
    help="Append the results to metric-NAME.jsonl there.  [default: the network's training run, if it is one]",
)
@evaluation_options
@sampler_choice_options(rho=Numbers())
@atlas_options
@progress_option
@reports_errors
def main(names, outdir, rho, psis, mixes, gpus, verbose, **options):
    """Calculate quality metrics of a network, with latents from the prior, MaGNET, Polarity or any other sampler.

    \b
    calc_metrics --metrics=fid50k_full --data=ffhq.zip --mirror=1 --network=ffhq.pkl
    calc_metrics --metrics=fid5k_full,pr5k3_full --sampler=polarity --rho=-0.1,0.1 --repeats=5
    calc_metrics --metrics=fid50k_full --data=ffhq.zip --network=ffhq.pkl --sampler=magnet --atlas=atlas --mix=0.041
    torchrun --nproc_per_node=8 --no-python calc_metrics --metrics=pr50k3_full --data=ffhq.zip --network=ffhq.pkl

    Any number of images may stand in a name, 5k or 500 instead of 50k. With a neighbour,
    pr50k3 is 50,000 images, pr1024k3 1,024, and pr300 has the usual neighbour:

    \b
      fid50k_full   Frechet inception distance against the full data set
      kid50k_full   Kernel inception distance against the full data set
      pr50k3_full   Precision and recall against the full data set, third neighbour
      prd50k_full   Precision and recall of distributions: F_8 (recall), F_1/8 (precision)
                    and, with --outdir, the curve
      pr_exact50k3_full   the same as pr with exact distances; the official ones are float16
      dc50k5_full   Density and coverage against the full data set, fifth neighbour
      fid50k, kid50k, pr50k3, dc50k5   the same against as many real images
      is50k         Inception score
      shares5k      Shares of the classes that a classifier finds, and how far from equal
      looks5k       Brightness, contrast and colours: mean, interval, spread
      emd5k         Earth mover's distance to as many real images; emd_vgg5k: on VGG16
      f1_50k3_full  F1 of precision and recall
      hausdorff5k   Hausdorff distance to as many real images
      fid_unbiased50k_full   FID with covariances over N - 1, as pytorch-fid has it
      ppl2_wend     Perceptual path length in W, endpoints, full image; ppl_zfull,
                    ppl_wfull, ppl_zend, ppl_wend; ppl2_wend_5k of 5k paths;
                    ppl_wend_trunc, ppl_wend_trunc_5k and so on for --trunc
      eqt50k_int, eqt50k_frac, eqr50k   Equivariance to translation and rotation
    """
    metrics, settings = plan(names, options, rho, psis, mixes)
    outdir = outdir or training_run(options["network"])
    if options["save_images"] and outdir is None:
        raise click.ClickException("--save-images needs a folder; give --outdir")
    if outdir is not None:
        prepare_folder(outdir)
    if relaunch("cli.calc_metrics", gpus, options["device"]):
        return
    with joined(verbose) as say:
        run = open_run(metrics, settings, outdir=outdir, **options)
        for setting in settings:
            for line in run.lines(setting):
                say(json.dumps(line))
                if outdir is not None and distributed.rank() == 0:
                    append_line(outdir, line)


def training_run(network):
    """The folder of the training run that a network file lies in, as the official command looks it up; or None."""
    folder = os.path.dirname(network or "")
    if network and os.path.isfile(network) and os.path.isfile(os.path.join(folder, "training_options.json")):
        return Path(folder)
    return None


if __name__ == "__main__":
    main()

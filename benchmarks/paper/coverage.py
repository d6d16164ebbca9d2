"""What the papers say and what of it is here, row by row: the source of docs/papers.md.

    python -m benchmarks.paper.coverage > docs/papers.md

A row is (place in the text, what it says, status, where it is here, test, remark). Status: `yes`, as the text has it;
`differs`, there but otherwise, as the remark and the documentation of the thing say; `part`; `no`, with the reason.
"""

YES, DIFFERS, PART, NO = "yes", "differs", "part", "no"
TRAINING = "needs networks that are trained for it"

# fmt: off
MAGNET = [
    ("Lemma 1, eq. (3)", "volume √det(AᵀA)", YES, "latent_plugins/importance/weights.py", "tests/test_theory.py::test_the_atlas_holds_the_known_volumes", ""),
    ("Theorem 1, Corollary 1, eqs. (4), (7), (8)", "density on the manifold", YES, "latent_plugins/geometry/density.py", "tests/test_density.py::test_the_exact_density_is_that_of_generated_points", "over all regions for two latent dimensions"),
    ("Corollary 2", "entropy", YES, "latent_plugins/geometry/density.py", "tests/test_density.py::test_the_entropy_of_a_linear_map_is_exact", "rank-deficient maps: the product of the top k, and it says so"),
    ("eqs. (9), (10)", "A and b of a region", YES, "latent_plugins/geometry/piecewise.py", "tests/test_partition.py", ""),
    ("Algorithm 1", "candidates uniform on the latent domain, K drawn with replacement ∝ volume", DIFFERS, "latent_plugins/samplers/polarity.py", "tests/test_theory.py::test_magnet_is_uniform_on_the_manifold", "candidates come from the prior unless --base=uniform says otherwise; 20,000 or 2,000 of them unless --candidates says 250,000; draws are systematic. The printed softmax of raw volumes is a misprint"),
    ("section 3.2", "the latent domain U", YES, "latent_plugins/priors.py", "tests/test_baseline.py::test_volumes_reweight_the_base_measure", "--base=uniform --radius=…; on the sphere the prior is uniform already, elsewhere --domain=gaussian"),
    ("Algorithm 2", "online acceptance σ / (σ + Σσᵢ)", YES, "latent_plugins/chains/published.py", "tests/test_chains.py::test_the_published_rule_flattens_the_weights", "the same as Polarity's at ρ = 1; fresh latents come from the prior, with --base=uniform from the text's U; --scalars is its N. Approximate, as its docstring says by how much"),
    ("section 4", "projection of the output to 256 dimensions (NVAE 128)", YES, "latent_plugins/volume/spectrum/projected.py", "tests/test_nvae.py::test_the_papers_projection_of_nvae", ""),
    ("appendix", "top-k 30, 40, 20, 15, 30 by family and space", YES, "latent_plugins/volume/defaults.py", "tests/test_commands.py", ""),
    ("section 4", "pixel and style space, ψ as a part of the map", YES, "latent_plugins/spaces.py", "tests/test_spectrum.py::test_truncation_and_labels_enter_the_map", ""),
    ("Figs. 3, 13, 14", "histogram of generated neighbours of training images within ε", DIFFERS, "latent_plugins/geometry/concentration.py", "tests/test_latent_classes.py::test_balls_by_hand", "`neighbours_of_real_images` of the report: means, variances and a histogram for three N and ε, at most 4,000 samples, in a classifier's features where there is one; the share of samples within any ball is ours"),
    ("Fig. 4, left", "log-likelihood of mixtures of normals", DIFFERS, "latent_plugins/geometry/concentration.py", "tests/test_latent_classes.py::test_the_right_number_of_clusters_is_the_best_one", "held-out half, at most 16 axes and clusters, one run"),
    ("Fig. 4, right; Table 1", "FID of mixtures over ψ and shares", YES, "latent_plugins/samplers/mixture.py", "tests/test_calc_metrics.py::test_a_mixture_has_exactly_its_share_and_larger_ones_keep_the_places", ""),
    ("Fig. 5", "triangle in the plane from biased data", NO, "", "", TRAINING),
    ("Figs. 6, 12", "hue of coloured digits", NO, "", "", TRAINING),
    ("Figs. 1, 7, 9, 15–19", "sheets of samples", YES, "latent_plugins/pictures/contact_sheet.py", "tests/test_pictures.py", ""),
    ("Fig. 8", "largest ‖J‖_F over the number of samples, 200 runs", DIFFERS, "latent_plugins/geometry/lipschitz.py", "tests/test_lipschitz.py::test_maxima_over_the_number_of_samples", "up to 20 samples and over 20 runs, which share one table of candidates; with an interval of the ratio of variances"),
    ("section 4.4, Figs. 20, 21", "shares of attributes", YES, "latent_plugins/metrics/shares.py", "tests/test_shares.py::test_figures_of_known_counts", "any classifier's classes; brightness and colours without one (`looks`)"),
    ("section 4", "baselines N(0, aI) and U[−2, 2]", YES, "latent_plugins/samplers/baseline.py", "tests/test_baseline.py::test_bulk_and_seeds_have_the_stated_law", "--sampler=baseline; a network that normalises z sees the direction alone"),
    ("Fig. 11", "precision and recall curves of Sajjadi et al., K = 70,000", YES, "latent_plugins/metrics/prd.py", "tests/test_prd.py::test_the_curve_is_that_of_brute_force", "prd70k_full; sets of different sizes weigh the same, which the published program refuses"),
    ("Fig. 10", "these curves over N, K = 5,000", YES, "cli/sweep_charts.py", "tests/test_prd.py::test_a_sweep_draws_the_curves", "sweep --candidates=…,… --metrics=prd5k_full: one atlas"),
    ("appendix D", "seconds a Jacobian", YES, "benchmarks/spectra.py", "tests/test_methods.py::test_costs_are_numbers_of_products", ""),
    ("Proposition, Theorem 2", "uniformity", YES, "latent_plugins/samplers/polarity.py", "tests/test_theory.py::test_magnet_is_uniform_on_the_manifold", ""),
]

POLARITY = [
    ("Theorem 1, Corollary 1", "law ∝ det^(ρ/2)", YES, "latent_plugins/samplers/polarity.py", "tests/test_theory.py::test_polarity_weights_regions_by_the_power_of_their_volume", "piecewise.log_volume is −∞ where the rank is too small; `pseudo=True` for the pseudo-determinant"),
    ("Algorithm 1", "ρ Σ log(σ + ε), softmax, draws with replacement", YES, "latent_plugins/importance/weights.py", "tests/test_samplers.py::test_weights_are_powers_of_the_volume", "systematic draws; --without-replacement is the published code's"),
    ("Algorithm 2", "online", YES, "latent_plugins/chains/published.py", "tests/test_chains.py::test_the_published_rule_flattens_the_weights", ""),
    ("Fig. 2", "k from 30 to 100, stable from 40; N near 200,000", DIFFERS, "pretrained.json", "tests/test_pretrained.py::test_rho_follows_the_table", "the catalogue's feature and pixel spaces take 30, the least of these; sweep --top-k=…,… shows the figure"),
    ("Figs. 2, 9; Tables 3, 4", "metrics over k and N", YES, "cli/varying.py", "tests/test_sweep.py::test_candidates_and_top_k_are_axes_of_one_atlas", ""),
    ("section 4", "style, pixel, VGG and Inception space", YES, "latent_plugins/spaces.py", "tests/test_feature_spaces.py::test_a_chain_rule_closed_form", ""),
    ("Figs. 1, 3, 8", "Pareto fronts of ψ and ρ", YES, "cli/sweep.py", "tests/test_sweep.py::test_the_pareto_front_is_what_nobody_beats", "pixel atlases are made anew for each ψ, which changes their volumes"),
    ("section 4", "class by class", YES, "latent_plugins/samplers/polarity.py", "tests/test_samplers.py::test_classes_are_weighted_one_by_one", ""),
    ("Table 2", "ρ and space of each network", YES, "pretrained.json", "tests/test_pretrained.py::test_rho_follows_the_table", "BigGAN-deep's weights are those of its conversion to PyTorch"),
    ("Table 1", "beside SIR, DOT and latentRS on churches", PART, "latent_plugins/metrics/run.py", "tests/test_calc_metrics.py", "samplers and metrics are there; the measurement takes a GPU"),
    ("Fig. 5", "modes, ρ ≪ 0", YES, "cli/modes.py", "tests/test_modes.py", ""),
    ("Fig. 6", "distances of 1,000 samples to the 3 nearest training images", YES, "latent_plugins/metrics/nearest.py", "tests/test_modes.py::test_distances_of_polarities_to_the_three_nearest", "modes --data=… --rho=-5,1"),
    ("Fig. 7", "distributions of path lengths over ρ, ends in z and in w, step 1e-4", YES, "cli/sweep_charts.py", "tests/test_path_lengths.py::test_a_line_has_quantiles_and_its_file_all_paths", "sweep --metrics=ppl_zend,ppl_wend --rho=…; markers are the official trimmed means"),
    ("appendix C.5", "path lengths under truncation", YES, "latent_plugins/metrics/path_length.py", "tests/test_path_lengths.py::test_truncated_paths_are_those_between_truncated_styles", "sweep --metrics=ppl_wend_trunc --trunc=…: a name of its own, since the official metric is defined without truncation"),
    ("section 5.2", "interpolation along likely paths", DIFFERS, "latent_plugins/interpolation/search.py", "tests/test_interpolation.py::test_paths_of_the_spline_run_where_its_density_says", "the command interpolate. The text suggests it and says no more: what the path minimises, and the search, are ours, as docs/interpolation.md states them"),
    ("section 4", "at most 100,000 real images", DIFFERS, "latent_plugins/metrics/precision_recall.py", "tests/test_metric_names.py::test_official_meaning", "200,000, the official metric's"),
    ("section 4", "the evaluator of guided diffusion for BigGAN-deep", NO, "", "", "official Inception alone; the network is biggan-deep-256"),
    ("Fig. 11", "examples in the plane", PART, "tests/test_theory.py", "tests/test_theory.py::test_extreme_polarity_sits_in_the_extreme_region", "as tests of the law"),
]

SPLINES = [
    ("eqs. (3), (4), Theorem 1, Fig. 1", "images of polytopes", YES, "latent_plugins/geometry/partition.py", "tests/test_partition.py", ""),
    ("Proposition 1", "bound of a region's dimension", YES, "latent_plugins/geometry/dimension.py", "tests/test_dimension.py::test_proposition_1_in_the_regions_of_a_narrow_network", "`region_bounds`; `rank_bound` is the layers' part of it"),
    ("Proposition 2, Fig. 2, eq. (7)", "dimension under dropout and dropconnect", YES, "latent_plugins/geometry/dropout.py", "tests/test_dimension.py::test_what_figure_2_observes", "section dropout of inspect_geometry; the text names no activation: leaky ReLUs; 2,000 regions and draws are read as pairs, `published_dimensions(regions=2000)` takes all of them"),
    ("Figs. 3, 4 left, 9", "dropout in training", NO, "", "", TRAINING),
    ("Theorem 2, Fig. 4 right", "training error below the true dimension", NO, "", "", TRAINING + "; the knee of singular values here is another thing, and says so"),
    ("Proposition 3", "bijective where every region has full rank", YES, "latent_plugins/geometry/report/partition.py", "tests/test_inspect_geometry.py::test_the_partition_of_a_plain_network_is_exact", ""),
    ("Proposition 4", "inversion by the best region", YES, "latent_plugins/geometry/region_inversion.py", "tests/test_region_inversion.py::test_both_searches_find_the_same_and_no_latent_is_nearer", "certified, in a square of two latents or for small networks in a cube; each region within its borders, which for targets off the manifold the printed formula leaves; the local walk from region to region has no certificate"),
    ("Proposition 5, Table 1", "‖Q − I‖₂ over 10,000 regions", DIFFERS, "latent_plugins/geometry/disentanglement.py", "tests/test_disentanglement.py::test_norms_and_sums_by_hand", "both norms that the text may mean, and the caption's sum over pairs; --disentanglement-latents=10000, by default 200; `over_networks` for the 8 runs, which are trained networks"),
    ("Fig. 5", "columns as images", YES, "latent_plugins/geometry/disentanglement.py", "tests/test_disentanglement.py::test_column_images_are_scaled_columns", ""),
    ("section 4.3, Fig. 6", "smoothing by β", YES, "latent_plugins/geometry/smoothing.py", "tests/test_smoothing.py::test_beta_zero_is_a_globally_affine_network", ""),
    ("Theorem 3, Proposition 6", "density", YES, "latent_plugins/geometry/density.py", "tests/test_density.py::test_the_density_integrates_to_the_priors_mass", ""),
    ("Corollary 1", "entropy", YES, "latent_plugins/geometry/density.py", "tests/test_density.py::test_the_entropy_of_the_corner_network_by_hand", ""),
    ("Theorem 4, Figs. 8, 11, 12", "angles between adjacent regions", YES, "latent_plugins/geometry/angularity.py", "tests/test_angularity.py::test_a_partition_and_paths_through_it_agree", "all pairs for two inputs, else those on paths; generators that are smooth within their regions have their kinks' angles"),
    ("appendix C", "training by likelihood", NO, "", "", TRAINING),
    ("Figs. 7, 10, 15", "log-determinants of regions, data with two modes, rescaled weights", PART, "latent_plugins/geometry/determinants.py", "tests/test_determinants.py::test_determinants_grow_with_the_weights", "functions; " + TRAINING),
    ("appendix G", "Hamming distance of neighbouring codes", YES, "latent_plugins/geometry/partition.py", "tests/test_angularity.py::test_adjacent_regions_of_the_corner_by_hand", ""),
    ("appendix E", "architectures", NO, "", "", TRAINING),
]

DISCONNECTED = [
    ("Definition 3.2.2", "precision and recall", YES, "latent_plugins/metrics/precision_recall.py", "tests/test_metrics.py::test_precision_and_recall_are_the_published_programs", "float16 as the official code; `pr_exact` without"),
    ("section 3.2", "density and coverage, k = 5", YES, "latent_plugins/metrics/density_coverage.py", "tests/test_metrics.py::test_other_figures_are_the_published_ones", ""),
    ("Theorems 3.2.2, 3.2.3, A.1.4.2, 3.3.1, Corollary 3.3.1", "bounds of precision", YES, "latent_plugins/geometry/precision_bounds.py", "tests/test_precision_bounds.py::test_two_modes", "the printed Lambert form lacks a root, as its docstring shows"),
    ("Assumption 4", "balanced generators", YES, "latent_plugins/geometry/precision_bounds.py", "tests/test_precision_bounds.py::test_balance_by_hand", ""),
    ("section 3.2.4", "‖J‖²_F from finite differences, σ in [1e-4, 1e-2], 10 draws", YES, "latent_plugins/samplers/jbt.py", "tests/test_online_samplers.py", ""),
    ("section 3.2.4", "the share with the largest norms is left out", YES, "latent_plugins/samplers/jbt.py", "tests/test_online_samplers.py", "its threshold comes from 1,000 latents of the prior"),
    ("Figs. 3.3d, 3.4", "marginal precision", YES, "latent_plugins/metrics/marginal_precision.py", "tests/test_set_distances.py::test_marginal_precision_by_hand", ""),
    ("Figs. 3.5, A.6, A.7", "images in the order of their norms, norms by class", YES, "latent_plugins/samplers/jbt.py", "tests/test_inspect_geometry.py::test_precision_falls_along_the_jacobians_norms", "section jacobian_norms of inspect_geometry; `jacobian_norm` in samples.jsonl"),
    ("Fig. 3.2d", "precision over distance and number of modes", NO, "", "", TRAINING),
    ("Tables 3.1, A.1", "precision, recall, F1, Hausdorff, FID, EMD on three data sets", PART, "latent_plugins/metrics/hausdorff.py", "tests/test_set_distances.py::test_the_hausdorff_distance_is_scipy_s", "all metrics; " + TRAINING),
    ("Tables A.4, A.6", "DeliGAN, DMLGAN", NO, "", "", TRAINING),
    ("section 3.2", "truncation of BigGAN beside JBT", YES, "latent_plugins/samplers/truncated.py", "tests/test_simplicial.py::test_truncated_normals_are", ""),
    ("section 3.3.4", "simplicial truncation max z·u > τ", YES, "latent_plugins/samplers/simplex.py", "tests/test_simplicial.py::test_three_corners_leave_out_a_triangle", ""),
    ("appendix B.2.3", "softmax(−‖z − u‖) > τ", YES, "latent_plugins/samplers/simplex.py", "tests/test_simplicial.py::test_published_thresholds_belong_to_the_softmax", "the radius, which the text leaves open, is an option"),
    ("section 3.3.4, appendix B.2.3", "simplicial latents in training, mutual information", NO, "", "", TRAINING),
    ("section 3.3", "logistic regression's accuracy, 100,000 and 10,000 latents, confidence 0.7", YES, "latent_plugins/geometry/latent_classes.py", "tests/test_inspect_geometry.py::test_the_classes_are_those_of_as_many_sure_latents_as_are_asked_for", "by options; the default takes a twentieth"),
    ("section 3.3", "convexity", YES, "latent_plugins/geometry/latent_classes.py", "tests/test_latent_classes.py::test_convex_classes_are_convex", "on the sphere along geodesics"),
    ("Tables 3.2, B.3, Figs. 3.10, 3.11", "over widths and latent dimensions", NO, "", "", TRAINING),
    ("Tables 3.3, B.4", "TransGAN on CIFAR-100 and STL-10", NO, "", "", "files of TransGAN are not read"),
    ("Figs. 3.6–3.8", "cells of two-dimensional latents", NO, "", "", TRAINING),
]

REWEIGHTING = [
    ("eq. (6)", "objective of the weights", YES, "latent_plugins/reweighting/objective.py", "tests/test_reweighting.py::test_worked_values_of_the_objective", "Algorithm 1 prints the reward's sign the wrong way round"),
    ("Algorithm 1", "the critic's term E[w D]", YES, "latent_plugins/reweighting/objective.py", "tests/test_reweighting.py::test_worked_values_of_the_objective", "`critic_term` published; normalised in our own presets"),
    ("Algorithm 1", "gradient penalty, two-sided", YES, "latent_plugins/reweighting/objective.py", "tests/test_reweighting.py::test_both_penalties_of_a_linear_critic", "`penalty_kind`; one-sided in our own presets"),
    ("Algorithm 1", "the loop", YES, "latent_plugins/reweighting/training.py", "tests/test_reweighting.py::test_an_interrupted_training_ends_in_the_same_bytes", ""),
    ("appendix, MNIST", "numbers", YES, "latent_plugins/reweighting/presets.py", "tests/test_reweighting.py::test_presets_have_the_papers_numbers", "batch and steps are not in the text"),
    ("appendix, ProGAN on CelebA", "numbers, 500 steps of the critic first", YES, "latent_plugins/reweighting/presets.py", "tests/test_reweighting.py::test_presets_have_the_papers_numbers", "four layers as the appendix says, not five as section 4.3.1"),
    ("appendix, StyleGAN2 on churches", "numbers, 500 steps of the critic first", YES, "latent_plugins/reweighting/presets.py", "tests/test_reweighting.py::test_the_critic_s_first_steps_alone_resume_too", ""),
    ("appendix", "every number from the command line", YES, "cli/train_weights.py", "tests/test_train_weights.py", ""),
    ("appendix", "model selection by EMD", YES, "latent_plugins/reweighting/selection.py", "tests/test_selection.py::test_the_best_snapshot_is_kept", "train_weights and train_critic --select=HELD-OUT.zip; without it the last average is kept"),
    ("Algorithms 2, 3", "latentRS", YES, "latent_plugins/samplers/reweighted.py", "tests/test_reweighted_samplers.py", ""),
    ("Algorithms 4, 5", "latentGA, 10 steps of 0.05", DIFFERS, "latent_plugins/samplers/projections.py", "tests/test_reweighted_samplers.py::test_the_published_projection_of_the_ascent", "steps keep to the tangent of the sphere by default; --step-projection=published is the printed one"),
    ("appendix, SIR", "critic fine-tuned with cross-entropy and a penalty", YES, "latent_plugins/reweighting/critic_training.py", "tests/test_train_critic.py::test_the_command_and_what_takes_its_file", "train_critic, with --select chosen by EMD; other critics without a logistic loss are warned about; the benchmark calibrates instead of regularising"),
    ("appendix, DOT", "critic fine-tuned with WGAN-GP; N 2 to 50, ε 0.01 to 0.1, best by EMD", YES, "latent_plugins/samplers/dot.py", "tests/test_sweep.py::test_numbers_of_a_sampler_are_axes", "train_critic --critic-loss=wasserstein, then sweep --steps=…,… --rate=…,… --metrics=emd1024; the default is one setting of DOT's own authors"),
    ("appendix", "DRS, MH", YES, "latent_plugins/samplers/drs.py", "tests/test_online_samplers.py", "as their own papers"),
    ("section 4.1", "EMD", DIFFERS, "latent_plugins/metrics/earth_mover.py", "tests/test_metrics.py::test_earth_mover_distance_is_the_best_of_all_pairings", "the mean over pairs, which the tables must be too; the text prints the sum"),
    ("section 4.3", "EMD and precision on VGG16 or a classifier's features", YES, "latent_plugins/metrics/earth_mover.py", "tests/test_calc_metrics.py::test_the_earth_mover_s_distance_by_its_detectors", "emd_vgg1024 and pr1024k3; emd1024 is on Inception's features, or on those of --detector=FILE"),
    ("appendix", "2,048 or 1,024 points, 10 runs", YES, "latent_plugins/metrics/real.py", "tests/test_calc_metrics.py::test_fresh_real_images_in_each_repeat", "pr1024k3, emd1024, --repeats=10 --fresh-real --confidence=0.97"),
    ("tables", "97 % intervals", YES, "latent_plugins/metrics/lines.py", "tests/test_calc_metrics.py::test_repeats_give_an_interval_around_their_mean", "--confidence=0.97; 95 % by default"),
    ("Table 1", "in the plane", DIFFERS, "benchmarks/paper/table1.py", "tests/test_baselines.py", "our own schedule and early stopping, as its docstring says"),
    ("Tables 2–5", "image data sets", PART, "benchmarks/paper/mnist.py", "tests/test_baselines.py", "MNIST; the others need a GPU and their files"),
    ("Fig. 3, Table 6", "precision against time", PART, "benchmarks/paper/mnist.py", "tests/test_baselines.py", "milliseconds in the table, no chart"),
    ("Fig. 2", "four manifolds beside the model", NO, "", "", TRAINING),
    ("Figs. 4–9", "acceptance under images, ascent sequences", YES, "latent_plugins/samplers/trails.py", "tests/test_strips.py::test_the_last_column_is_what_gen_images_writes", "gen_images --strips, with w and min(w, m) / m, the acceptance, under each image; w of each image in samples.jsonl"),
    ("Lemma 1, Theorem 1", "limits", NO, "", "", "theory alone"),
    ("tables", "FID of 50,000 images", YES, "latent_plugins/metrics/fid.py", "tests/test_metrics.py::test_frechet_distances_are_the_published_ones", ""),
    ("section 4.3", "the discriminator of the TensorFlow networks", YES, "dnnlib_compat/tf_discriminators.py", "tests/test_tf_discriminators.py::test_samplers_find_the_discriminator_in_the_file", "StyleGAN2's and ProGAN's; sir, drs and mh warn of the latter, which WGAN-GP trains"),
]
# fmt: on

PAPERS = [
    ("MaGNET (Humayun, Balestriero, Baraniuk, 2022)", MAGNET),
    ("Polarity Sampling (Humayun, Balestriero, Baraniuk, 2022)", POLARITY),
    ("Max-Affine Spline Insights into Deep Generative Networks (Balestriero, Paris, Baraniuk, 2020)", SPLINES),
    ("Disconnected manifolds, simplicial clusters (Issenhuth's thesis, sections 3.2 and 3.3)", DISCONNECTED),
    ("Latent reweighting (Issenhuth, Tanielian, Picard, Mary, 2022; the thesis's section 3.4)", REWEIGHTING),
]  # fmt: skip

HEAD = """# The papers, row by row

What each text says, and what of it is here: *yes*, as it is printed; *differs*, as the remark and the thing's own
documentation say; *part*; *no*, with the reason. Made by `python -m benchmarks.paper.coverage`.
"""


def rows():
    """All rows of all papers."""
    return [row for _, found in PAPERS for row in found]


def page():
    """The text of docs/papers.md."""
    parts = [HEAD]
    for title, found in PAPERS:
        parts.append(f"\n## {title}\n\n| where | what | | here | remark |\n|---|---|---|---|---|\n")
        for place, what, status, where, test, remark in found:
            links = ", ".join(
                f"[{path.split('/')[-1]}](../{path.partition('::')[0]})" for path in (where, test) if path
            )
            parts.append(f"| {place} | {what} | {status} | {links} | {remark} |\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")

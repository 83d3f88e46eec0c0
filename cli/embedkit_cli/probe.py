"""embedkit probe."""

from __future__ import annotations

from typing import Any, cast

import click

from embedkit_cli.curve import curve_options
from embedkit_cli.grids import ESTIMATORS, param_option
from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    drop_option,
    estimator_device_option,
    evaluation_options,
    pairs_option,
    protocol_options,
    read_options,
    requests_beside,
    result_options,
    split_names,
    target_from,
)
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("probe", cls=Command, first=("--model", "--estimator", "--protocol", "--report", "--output"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@click.option("--model", "models", multiple=True, metavar="NAME", help="For a source of images; repeat for several.")
@backbone_options
@click.option(
    "--estimator",
    "estimators",
    multiple=True,
    metavar="NAME",
    help=f"Repeat for several: {ESTIMATORS}. By default those that suit the labels.",
)
@param_option
@click.option(
    "--fuse",
    metavar="A,B",
    help="Fuse the features of several TARGETs or models: concat, vote, stack, ridge; each is tested against the best.",
)
@click.option(
    "--views",
    type=int,
    default=0,
    metavar="K",
    help="Fit on K random views of each image too, and test what that gains over the images alone.",
)
@click.option(
    "--unlabelled",
    is_flag=True,
    help="Use the rows without a label too, in several ways; each is tested against leaving them out.",
)
@click.option(
    "--one-class",
    "normal",
    metavar="NAME",
    help="Learn from the images of class NAME alone, and say how well that tells it from all others.",
)
@click.option(
    "--false-alarms",
    type=float,
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Of --one-class: images of NAME that may be called unlike it.",
)
@protocol_options
@curve_options
@evaluation_options
@pairs_option
@estimator_device_option
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the result, with each row's outcome.")
@result_options
@drop_option
@read_options
def command(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    estimators: tuple[str, ...],
    params: dict[str, list[Any]],
    fuse: str | None,
    views: int,
    unlabelled: bool,
    normal: str | None,
    false_alarms: float,
    protocols: str,
    as_published: bool,
    shots: list[int],
    fractions: list[float],
    seeds: int | None,
    folds: int,
    no_floors: bool,
    estimator_device: str,
    output: str | None,
    page: str | None,
    pairs: str | None,
    force: bool,
    label_column: str | None,
    drop_unlabelled: bool,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Report how well simple estimators do on the features of TARGET.

    Protocols are quick, and published ones: clip, kornblith, dinov2-logreg, dinov3-logreg, dinov2-knn, coop-fewshot,
    clip-benchmark, ridge-lsr, simpleshot, voc-svm, mteb-fewshot, hest-ridge, uni-logreg.

    TARGET is a feature file, or a source of images, by default with the bundled backbone.

    \b
    embedkit probe photos.h5
    embedkit probe photos.h5 --report photos.html -o photos.json
    embedkit probe photos.h5 --estimator sklearn.svm.SVC --param C=1,10,100 --param gamma=scale,auto
    embedkit probe photos.h5 --protocol clip,dinov2-knn,kornblith
    embedkit probe photos/ --pairs pairs.csv
    embedkit probe a.h5 b.h5 --fuse concat,vote,stack,ridge
    embedkit probe a.h5 b.h5 --unlabelled
    embedkit probe photos.h5 --one-class bolt
    embedkit probe photos.h5 --shots 1,2,4,8,16 --seeds 10
    embedkit probe photos/ --model resnet50.a1_in1k --model vit_small_patch16_224.augreg_in21k_ft_in1k
    """
    from embedkit import curve, one_class, probe, probe_views, self_train
    from embedkit import fuse as fuse_features

    check_outputs(output, page, pairs, force=force)
    ways = (("--views", views), ("--fuse", fuse), ("--unlabelled", unlabelled), ("--one-class", normal))
    own = [name for name, asked in ways if asked not in (None, False, 0)]
    if own:
        others = (params, estimators, as_published, pairs, page, shots, fractions)
        if any(others) or protocols != "quick" or len(own) > 1:
            raise click.UsageError(
                f"{own[0]} has protocol and estimators of its own, and no --pairs, --report or curve; of "
                f"{', '.join(name for name, _ in ways)} it takes one"
            )
        if drop_unlabelled and not views:
            raise click.UsageError(f"{own[0]} takes no --drop-unlabelled")
        if views and len(models) > 1:
            raise click.UsageError(f"{len(models)} models are named; --views is of one")
    options: dict[str, Any] = {"store": store, "progress": ProgressBar()}
    saved: dict[str, Any] = {"output": output, "force": force, "store": store}
    requests = requests_beside(models, backbone)
    several: Any = list(targets) if len(targets) > 1 else "".join(targets)
    if fuse is not None or unlabelled:
        options |= {"label_column": label_column, "folds": folds}
        if fuse is None:
            return finish(self_train(several, requests, **options), as_json, **saved)
        ways_of_fusing = cast(Any, split_names(fuse))
        return finish(fuse_features(several, requests, ways=ways_of_fusing, **options), as_json, **saved)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    if views:
        options |= {"label_column": label_column, "drop_unlabelled": drop_unlabelled, "folds": folds}
        gained = probe_views(target, requests[0] if requests else None, views=views, **options)
        return finish(gained, as_json, **saved)
    if normal is not None:
        options |= {"label_column": label_column, "floors": not no_floors, "error": false_alarms}
        found = one_class(target, normal, requests, **options)
        return finish(found, as_json, **saved)
    kept: dict[str, Any] = {"page": page, **saved}
    if shots or fractions:
        if params or as_published or pairs or protocols != "quick" or len(estimators) > 1:
            raise click.UsageError(
                "a curve takes one --estimator, and no --param, --protocol, --as-published or --pairs"
            )
        curves = curve(
            target,
            requests_beside(models, backbone),
            shots=shots,
            fractions=fractions,
            seeds=seeds or 5,
            estimator=estimators[0] if estimators else None,
            label_column=label_column,
            drop_unlabelled=drop_unlabelled,
            folds=folds,
            store=store,
            floors=not no_floors,
            progress=ProgressBar(),
        )
        return finish(curves, as_json, **kept)
    if seeds is not None:
        raise click.UsageError(
            "--seeds is for curves (--shots, --fractions); `embedkit compare` repeats with seeds too"
        )
    report = probe(
        target,
        requests_beside(models, backbone),
        estimator=estimators or None,
        params=params,
        protocol=split_names(protocols),
        as_published=as_published,
        label_column=label_column,
        drop_unlabelled=drop_unlabelled,
        folds=folds,
        store=store,
        floors=not no_floors,
        device=estimator_device,
        views=page is not None or output is not None,
        pairs=pairs is not None,
        progress=ProgressBar(),
    )
    return finish(report, as_json, pairs=pairs, **kept)

"""One contender of `benchmarks.extraction`, in a process (and for the peers an environment) of its own.

    PYTHON -m benchmarks.extraction_contender NAME JOB.json      from the root of the checkout

Each function takes the job (``architecture``, ``weights`` (a state dict of timm's, random numbers), ``paths``,
``folder``, ``batch_size``, ``workers``, ``store``), builds what it needs, and returns a callable that turns all paths
into features; only this call is timed. Prints one JSON object and leaves the features in ``features.npy`` beside the
job.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Job = dict[str, Any]
Work = Callable[[], Any]


def reference(job: Job) -> Work:
    """Compute what timm's own documentation does, image by image: the features to compare with."""
    import torch

    model, transform = _timm(job)

    def work() -> Any:
        with torch.inference_mode():
            return np.concatenate([model(transform(_rgb(path))[None]).numpy() for path in job["paths"]])

    return work


def loop(job: Job) -> Work:
    """Run the plain DataLoader and model loop, fp32."""
    import torch

    model, transform = _timm(job)

    class Images(torch.utils.data.Dataset):  # pyright: ignore[reportUnknownMemberType, reportMissingTypeArgument]
        def __len__(self) -> int:
            return len(job["paths"])

        def __getitem__(self, row: int) -> Any:
            return transform(_rgb(job["paths"][row]))

    def work() -> Any:
        loader = torch.utils.data.DataLoader(Images(), batch_size=job["batch_size"], num_workers=job["workers"])
        with torch.inference_mode():
            return np.concatenate([model(batch).numpy() for batch in loader])

    return work


def embetter(job: Job) -> Work:
    """Run embetter's documented pipeline, put into eval mode, which it is not by itself."""
    import timm

    create = timm.create_model
    timm.create_model = lambda name, pretrained, **options: create(name, pretrained=False, **options)
    from embetter.vision import ImageLoader, TimmEncoder

    encoder = TimmEncoder(job["architecture"])
    encoder.model.load_state_dict(_state(job), strict=False)
    encoder.model.eval()
    return lambda: encoder.transform(ImageLoader().transform(job["paths"]))


def img2vec(job: Job) -> Work:
    """Run img2vec_pytorch in batches; it knows torchvision's resnet50, whose tensors have the same names."""
    import img2vec_pytorch
    import torchvision

    known = img2vec_pytorch.img_to_vec
    known.resnet50 = _without_weights(torchvision.models.resnet50)
    encoder = img2vec_pytorch.Img2Vec(model="resnet50", layer_output_size=2048)
    encoder.model.load_state_dict(_state(job), strict=False)
    step = job["batch_size"]

    def work() -> Any:
        paths = job["paths"]
        batches = ([_rgb(path) for path in paths[at : at + step]] for at in range(0, len(paths), step))
        return np.concatenate([encoder.get_vec(batch) for batch in batches])

    return work


def thingsvision(job: Job) -> Work:
    """Run thingsvision's documented extractor and loader."""
    import torch
    from thingsvision import get_extractor
    from thingsvision.utils.data import DataLoader, ImageDataset

    extractor = get_extractor(model_name=job["architecture"], source="timm", device="cpu", pretrained=False)
    extractor.model.load_state_dict(torch.load(job["weights"]), strict=False)
    module = "global_pool" if "resnet" in job["architecture"] else "fc_norm"

    def work() -> Any:
        dataset = ImageDataset(
            root=job["folder"], out_path=job["folder"] + "-thingsvision", backend="pt",
            transforms=extractor.get_transformations(resize_dim=256, crop_dim=224),
        )  # fmt: skip
        batches = DataLoader(dataset=dataset, batch_size=job["batch_size"], backend="pt")
        features = extractor.extract_features(batches=batches, module_name=module, flatten_acts=False)
        return features[:, 0] if features.ndim == 3 else features.reshape(len(features), -1)

    return work


def transformers(job: Job) -> Work:
    """Run the image-feature-extraction pipeline of transformers on its timm wrapper."""
    import timm
    from transformers import TimmWrapperConfig, TimmWrapperImageProcessor, TimmWrapperModel, pipeline

    architecture = job["architecture"]
    model = TimmWrapperModel(TimmWrapperConfig(architecture=architecture)).eval()
    model.timm_model.load_state_dict(_state(job), strict=False)
    config = timm.get_pretrained_cfg(architecture).to_dict()
    processor = TimmWrapperImageProcessor(config, architecture=architecture)
    run = pipeline("image-feature-extraction", model=model, image_processor=processor, pool=True, device="cpu")
    return lambda: np.concatenate([np.asarray(one) for one in run(job["paths"], batch_size=job["batch_size"])])


def embedkit(job: Job) -> Work:
    """Run embedkit into an empty store; what ``auto`` takes is what it takes for a long job."""
    from embedkit.backbones import FeatureRequest, load_backbone
    from embedkit.extraction import run
    from embedkit.images import open_source
    from embedkit.store import FeatureStore

    asked = FeatureRequest(
        job["architecture"], weights=job["weights"], precision=job["precision"], engine=job["engine"],
    )  # fmt: skip
    backbone = load_backbone(asked, expected_images=1_000_000)
    store = FeatureStore(Path(job["store"]))
    job["said"] = backbone.choice

    def work() -> Any:
        extraction = run(open_source(job["paths"]), asked, store, backbone=backbone)
        assert extraction.forward_passes == len(job["paths"]), "the store was not empty"
        return extraction.features.get(extraction.digests)

    return work


def warm(job: Job) -> Work:
    """Run embedkit where the store holds everything."""
    from embedkit import ImageEmbedder

    def work() -> Any:
        embedder = ImageEmbedder(
            job["architecture"], weights=job["weights"], precision=job["precision"], engine=job["engine"],
            store=job["store"],
        )  # fmt: skip
        return embedder.fit_transform(job["paths"])

    embedded = work()
    assert len(embedded) == len(job["paths"])
    return work


def decode_only(job: Job) -> Work:
    """Read, decode and preprocess on all cores as embedkit does, and stop there."""
    from concurrent.futures import ThreadPoolExecutor

    from embedkit.backbones import FeatureRequest, load_backbone
    from embedkit.extraction import Resolution
    from embedkit.images import decode, read_bytes
    from embedkit.preprocess import Preprocessor

    asked = FeatureRequest(job["architecture"], weights=job["weights"], precision="fp32", engine="torch")
    spec = Resolution.of(asked, load_backbone(asked)).spec
    preprocessor = Preprocessor(spec.preprocess)

    def one(path: str) -> Any:
        return preprocessor(decode(read_bytes(path), spec.decode, target=preprocessor.resized))

    def work() -> Any:
        with ThreadPoolExecutor(job["cores"]) as threads:
            return np.stack(list(threads.map(one, job["paths"])))[:, 0, 0]

    return work


def forward_only(job: Job) -> Work:
    """Run the network alone on pixels in memory, in the engine and on the cores that embedkit takes."""
    from concurrent.futures import ThreadPoolExecutor

    from embedkit.backbones import FeatureRequest, load_backbone
    from embedkit.backbones.threads import use_one_thread

    asked = FeatureRequest(
        job["architecture"], weights=job["weights"], precision=job["precision"], engine=job["engine"],
    )  # fmt: skip
    backbone = load_backbone(asked, expected_images=1_000_000)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (len(job["paths"]), 3, *backbone.preprocess.input_size), dtype=np.uint8)
    step = backbone.batch_size

    def one(at: int) -> Any:
        use_one_thread()
        return backbone(pixels[at : at + step])

    def work() -> Any:
        with ThreadPoolExecutor(job["cores"]) as threads:
            return np.concatenate(list(threads.map(one, range(0, len(pixels), step))))

    return work


CONTENDERS = (
    reference, loop, embetter, img2vec, thingsvision, transformers, embedkit, warm, decode_only, forward_only,
)  # fmt: skip


def _timm(job: Job) -> tuple[Any, Any]:
    import timm
    from timm.data import create_transform, resolve_data_config

    model = timm.create_model(job["architecture"], pretrained=False, num_classes=0).eval()
    model.load_state_dict(_state(job), strict=False)
    return model, create_transform(**resolve_data_config({}, model=model))


def _state(job: Job) -> dict[str, Any]:
    import torch

    return torch.load(job["weights"], weights_only=True)


def _without_weights(create: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_, **__: create(weights=None)


def _rgb(path: str) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def main() -> None:
    name, path = sys.argv[1], Path(sys.argv[2])
    job = json.loads(path.read_text())
    build = next(one for one in CONTENDERS if one.__name__ == name)
    began = time.perf_counter()
    work = build(job)
    built = time.perf_counter()
    features = np.asarray(work(), dtype=np.float32)
    seconds = time.perf_counter() - built
    np.save(path.with_name("features.npy"), features)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peak += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    print(json.dumps({"seconds": seconds, "build": built - began, "peak_bytes": peak, "said": job.get("said")}))


if __name__ == "__main__":
    main()

"""Classical machine learning on image embeddings: frozen timm backbones, HDF5 features, scikit-learn estimators.

The names below are the public interface; each is imported when it is first asked for, so that ``import embedkit``
loads none of torch, timm, scikit-learn, SciPy and h5py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.backbones import BackboneRequest, ModelInfo, PreprocessOverrides, list_models
    from embedkit.embedder import ImageEmbedder
    from embedkit.errors import EmbedkitError
    from embedkit.extraction import Tick, default_store
    from embedkit.persistence import load_model, save_model
    from embedkit.specs import FeatureSpec
    from embedkit.store import FeatureStore, FeatureTable, export, info
    from embedkit.workflows.demo import demo
    from embedkit.workflows.extract import extract
    from embedkit.workflows.fit import fit
    from embedkit.workflows.predict import predict
    from embedkit.workflows.probe import probe
else:
    _HOMES = {
        "BackboneRequest": "embedkit.backbones",
        "EmbedkitError": "embedkit.errors",
        "FeatureSpec": "embedkit.specs",
        "FeatureStore": "embedkit.store",
        "FeatureTable": "embedkit.store",
        "ImageEmbedder": "embedkit.embedder",
        "ModelInfo": "embedkit.backbones",
        "PreprocessOverrides": "embedkit.backbones",
        "Tick": "embedkit.extraction",
        "default_store": "embedkit.extraction",
        "demo": "embedkit.workflows.demo",
        "export": "embedkit.store",
        "extract": "embedkit.workflows.extract",
        "fit": "embedkit.workflows.fit",
        "info": "embedkit.store",
        "list_models": "embedkit.backbones",
        "load_model": "embedkit.persistence",
        "predict": "embedkit.workflows.predict",
        "probe": "embedkit.workflows.probe",
        "save_model": "embedkit.persistence",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted(__all__)


__all__ = [
    "BackboneRequest",
    "EmbedkitError",
    "FeatureSpec",
    "FeatureStore",
    "FeatureTable",
    "ImageEmbedder",
    "ModelInfo",
    "PreprocessOverrides",
    "Tick",
    "default_store",
    "demo",
    "export",
    "extract",
    "fit",
    "info",
    "list_models",
    "load_model",
    "predict",
    "probe",
    "save_model",
]

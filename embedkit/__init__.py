"""Classical machine learning on image embeddings: frozen timm backbones, HDF5 features, scikit-learn estimators.

The names below are the public interface; each is imported when it is first asked for, so that ``import embedkit``
loads none of torch, timm, scikit-learn, SciPy and h5py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit import plot
    from embedkit.adaptation import DistillSettings, FineTunedClassifier, TuningSettings
    from embedkit.backbones import (
        FeatureRequest,
        ListedModel,
        ModelInfo,
        PreprocessOverrides,
        list_models,
        shortlist,
        shortlist_source,
    )
    from embedkit.embedder import ImageEmbedder
    from embedkit.errors import EmbedkitError
    from embedkit.evaluation import NearestImages
    from embedkit.extraction import Tick, default_store
    from embedkit.images import ImageSource, describe, open_source
    from embedkit.persistence import Model, load_model, save_model
    from embedkit.results import (
        AuditResult,
        Comparison,
        CurveReport,
        DemoResult,
        DistillResult,
        DomainGaps,
        Explanations,
        ExtractResult,
        FeatureDiff,
        FineTuneReport,
        FitResult,
        Forecast,
        FusionReport,
        Gap,
        LabelResult,
        LayersResult,
        OneClassReport,
        PlanResult,
        PlanStatus,
        Predictions,
        ProbeReport,
        ProbeResult,
        SearchResult,
        Selection,
        StatisticsFit,
        StatisticsResult,
        UnlabelledReport,
        load_result,
    )
    from embedkit.specs import FeatureSpec
    from embedkit.store import FeatureStore
    from embedkit.tables import FeatureTable, export, info, open_virtual
    from embedkit.workflows.audit import audit
    from embedkit.workflows.candidates import Candidates
    from embedkit.workflows.compare import compare
    from embedkit.workflows.curve import curve
    from embedkit.workflows.demo import demo
    from embedkit.workflows.diff import diff
    from embedkit.workflows.distill import distill
    from embedkit.workflows.explain import explain
    from embedkit.workflows.export_model import export_model
    from embedkit.workflows.extract import extract
    from embedkit.workflows.extract_several import extract_several
    from embedkit.workflows.finetune import finetune
    from embedkit.workflows.fit import fit
    from embedkit.workflows.fit_one_class import fit_one_class
    from embedkit.workflows.fit_statistics import fit_statistics
    from embedkit.workflows.forecast import forecast
    from embedkit.workflows.fuse import fuse
    from embedkit.workflows.gap import gap
    from embedkit.workflows.label import label
    from embedkit.workflows.layers import layers
    from embedkit.workflows.one_class import one_class
    from embedkit.workflows.pages import write_page
    from embedkit.workflows.plans import (
        extract_planned,
        extract_unit,
        extraction_status,
        plan_extraction,
    )
    from embedkit.workflows.predict import predict
    from embedkit.workflows.probe import probe
    from embedkit.workflows.probe_views import probe_views
    from embedkit.workflows.search import search
    from embedkit.workflows.select import select
    from embedkit.workflows.self_train import self_train
    from embedkit.workflows.slurm import slurm_script
    from embedkit.workflows.stats import stats
else:
    _HOMES = {
        "AuditResult": "embedkit.results",
        "Candidates": "embedkit.workflows.candidates",
        "Comparison": "embedkit.results",
        "CurveReport": "embedkit.results",
        "DemoResult": "embedkit.results",
        "DistillResult": "embedkit.results",
        "DistillSettings": "embedkit.adaptation",
        "DomainGaps": "embedkit.results",
        "EmbedkitError": "embedkit.errors",
        "Explanations": "embedkit.results",
        "ExtractResult": "embedkit.results",
        "FeatureDiff": "embedkit.results",
        "FeatureRequest": "embedkit.backbones",
        "FeatureSpec": "embedkit.specs",
        "FeatureStore": "embedkit.store",
        "FeatureTable": "embedkit.tables",
        "FineTuneReport": "embedkit.results",
        "FineTunedClassifier": "embedkit.adaptation",
        "FitResult": "embedkit.results",
        "Forecast": "embedkit.results",
        "FusionReport": "embedkit.results",
        "Gap": "embedkit.results",
        "ImageSource": "embedkit.images",
        "ImageEmbedder": "embedkit.embedder",
        "LabelResult": "embedkit.results",
        "ListedModel": "embedkit.backbones",
        "Model": "embedkit.persistence",
        "ModelInfo": "embedkit.backbones",
        "NearestImages": "embedkit.evaluation",
        "OneClassReport": "embedkit.results",
        "PlanResult": "embedkit.results",
        "PlanStatus": "embedkit.results",
        "Predictions": "embedkit.results",
        "PreprocessOverrides": "embedkit.backbones",
        "ProbeReport": "embedkit.results",
        "ProbeResult": "embedkit.results",
        "SearchResult": "embedkit.results",
        "LayersResult": "embedkit.results",
        "Selection": "embedkit.results",
        "StatisticsFit": "embedkit.results",
        "StatisticsResult": "embedkit.results",
        "Tick": "embedkit.extraction",
        "TuningSettings": "embedkit.adaptation",
        "UnlabelledReport": "embedkit.results",
        "audit": "embedkit.workflows.audit",
        "compare": "embedkit.workflows.compare",
        "curve": "embedkit.workflows.curve",
        "default_store": "embedkit.extraction",
        "demo": "embedkit.workflows.demo",
        "describe": "embedkit.images",
        "diff": "embedkit.workflows.diff",
        "explain": "embedkit.workflows.explain",
        "distill": "embedkit.workflows.distill",
        "export": "embedkit.tables",
        "export_model": "embedkit.workflows.export_model",
        "extract": "embedkit.workflows.extract",
        "extract_planned": "embedkit.workflows.plans",
        "extract_several": "embedkit.workflows.extract_several",
        "extract_unit": "embedkit.workflows.plans",
        "extraction_status": "embedkit.workflows.plans",
        "forecast": "embedkit.workflows.forecast",
        "finetune": "embedkit.workflows.finetune",
        "fit": "embedkit.workflows.fit",
        "fuse": "embedkit.workflows.fuse",
        "probe_views": "embedkit.workflows.probe_views",
        "fit_one_class": "embedkit.workflows.fit_one_class",
        "one_class": "embedkit.workflows.one_class",
        "self_train": "embedkit.workflows.self_train",
        "fit_statistics": "embedkit.workflows.fit_statistics",
        "gap": "embedkit.workflows.gap",
        "info": "embedkit.tables",
        "label": "embedkit.workflows.label",
        "layers": "embedkit.workflows.layers",
        "list_models": "embedkit.backbones",
        "load_model": "embedkit.persistence",
        "load_result": "embedkit.results",
        "open_source": "embedkit.images",
        "open_virtual": "embedkit.tables",
        "plan_extraction": "embedkit.workflows.plans",
        "predict": "embedkit.workflows.predict",
        "probe": "embedkit.workflows.probe",
        "save_model": "embedkit.persistence",
        "search": "embedkit.workflows.search",
        "select": "embedkit.workflows.select",
        "shortlist": "embedkit.backbones",
        "shortlist_source": "embedkit.backbones",
        "slurm_script": "embedkit.workflows.slurm",
        "stats": "embedkit.workflows.stats",
        "write_page": "embedkit.workflows.pages",
    }

    def __getattr__(name: str) -> Any:
        import importlib

        if name == "plot":
            return importlib.import_module("embedkit.plot")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted(__all__)


__all__ = [
    "AuditResult",
    "Candidates",
    "Comparison",
    "CurveReport",
    "DemoResult",
    "DomainGaps",
    "EmbedkitError",
    "Explanations",
    "ExtractResult",
    "FeatureDiff",
    "FeatureRequest",
    "FeatureSpec",
    "FeatureStore",
    "FeatureTable",
    "DistillResult",
    "DistillSettings",
    "FineTuneReport",
    "FineTunedClassifier",
    "FitResult",
    "Forecast",
    "FusionReport",
    "Gap",
    "ImageEmbedder",
    "ImageSource",
    "LabelResult",
    "ListedModel",
    "Model",
    "ModelInfo",
    "NearestImages",
    "OneClassReport",
    "PlanResult",
    "PlanStatus",
    "Predictions",
    "PreprocessOverrides",
    "ProbeReport",
    "ProbeResult",
    "LayersResult",
    "SearchResult",
    "Selection",
    "StatisticsFit",
    "StatisticsResult",
    "Tick",
    "TuningSettings",
    "UnlabelledReport",
    "audit",
    "compare",
    "curve",
    "default_store",
    "demo",
    "describe",
    "diff",
    "explain",
    "export",
    "export_model",
    "extract",
    "extract_planned",
    "extract_several",
    "extract_unit",
    "extraction_status",
    "distill",
    "finetune",
    "fit",
    "fit_statistics",
    "forecast",
    "fuse",
    "fit_one_class",
    "one_class",
    "self_train",
    "gap",
    "info",
    "label",
    "layers",
    "list_models",
    "load_model",
    "load_result",
    "open_source",
    "open_virtual",
    "plan_extraction",
    "plot",
    "predict",
    "probe",
    "probe_views",
    "save_model",
    "search",
    "select",
    "shortlist",
    "shortlist_source",
    "slurm_script",
    "stats",
    "write_page",
]

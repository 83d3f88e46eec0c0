"""Extraction: what is missing in the store is loaded, run through the network and committed.

Layer: above images, preprocess, backbones and store, which do not know each other; below the embedder. Never imports
scikit-learn or click, never prints.
"""

from embedkit.extraction.defaults import default_store
from embedkit.extraction.engines import (
    Cluster,
    all_devices,
    check_cluster,
    extract_on_cluster,
    extract_on_devices,
    parse_devices,
    suggest_units,
)
from embedkit.extraction.kept import KeptBackbone
from embedkit.extraction.pixels import PixelRows
from embedkit.extraction.plan import Plan, PlanFile, check_plan, write_plan
from embedkit.extraction.recalling import image_digests, recall
from embedkit.extraction.records import Records, plans_folder
from embedkit.extraction.report import Extraction, Progress, Tick
from embedkit.extraction.resolution import RequestMemo, Resolution, resolve, resolve_together
from embedkit.extraction.runner import run, run_many
from embedkit.extraction.status import plan_status, planned_extraction
from embedkit.extraction.units import UnitResult, UnitWorker

__all__ = [
    "Cluster",
    "Extraction",
    "KeptBackbone",
    "PixelRows",
    "Plan",
    "PlanFile",
    "Progress",
    "Records",
    "RequestMemo",
    "Resolution",
    "Tick",
    "UnitResult",
    "UnitWorker",
    "all_devices",
    "check_cluster",
    "check_plan",
    "default_store",
    "extract_on_cluster",
    "extract_on_devices",
    "image_digests",
    "parse_devices",
    "plan_status",
    "planned_extraction",
    "plans_folder",
    "recall",
    "resolve",
    "resolve_together",
    "run",
    "run_many",
    "suggest_units",
    "write_plan",
]

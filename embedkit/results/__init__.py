"""What a measurement leaves behind: plain, versioned records with the outcome of each row, and everything to repeat it.

Layer: above files and specs, below everything that computes. Standard library and NumPy only.
"""

from embedkit.results.audit import KINDS, AuditResult, Effect, Finding, FindingKind, SelfCheck
from embedkit.results.comparison import AverageRanks, Comparison, Leaderboard, Pair, Standing
from embedkit.results.curve import Curve, CurveReport, Point
from embedkit.results.difference import ChangedRow, ChangedSetting, FeatureDiff, MovedRow
from embedkit.results.distillation import Agreed, DistillResult, StudentJudged
from embedkit.results.explanation import Deletion, Explanation, Explanations, Influence
from embedkit.results.extraction import ExtractResult, Forecast, PlanResult, PlanStatus, Stage, Stages, UnitStatus
from embedkit.results.finetuning import Attempt, FineTuneReport, RungResult
from embedkit.results.fusion import FusionReport, Gain
from embedkit.results.gap import ClassGap, DomainGaps, Gap, HeldOut, Reached, Verdict
from embedkit.results.labelling import ChosenImage, LabelResult
from embedkit.results.loading import load_result, result_from
from embedkit.results.models import Confusion, DemoResult, FitResult, Guess, Prediction, Predictions
from embedkit.results.one_class import OneClassReport, OneClassResult
from embedkit.results.plain import as_packed, from_plain, to_plain
from embedkit.results.probe import Candidate, Param, ProbeReport, ProbeResult, recommended_of
from embedkit.results.record import Origin, Record, Skipped, Unavailable, html_table
from embedkit.results.rows import Rows
from embedkit.results.search import Hit, Hits, SearchResult
from embedkit.results.selection import (
    Advice,
    Concatenation,
    LayerOutput,
    LayersResult,
    RoundEstimate,
    ScoreVerdict,
    Selection,
    SelectionCandidate,
)
from embedkit.results.statistics import Site, StatisticsFit, StatisticsResult
from embedkit.results.unlabelled import UnlabelledGain, UnlabelledReport
from embedkit.results.views import EmbeddingMap, ImagePair, NearestTrained

__all__ = [
    "Advice",
    "Concatenation",
    "LayerOutput",
    "LayersResult",
    "RoundEstimate",
    "ScoreVerdict",
    "Selection",
    "SelectionCandidate",
    "ChangedRow",
    "MovedRow",
    "ClassGap",
    "DomainGaps",
    "Gap",
    "HeldOut",
    "Reached",
    "Verdict",
    "ChangedSetting",
    "Deletion",
    "Explanation",
    "Explanations",
    "Attempt",
    "FineTuneReport",
    "FusionReport",
    "Gain",
    "RungResult",
    "Agreed",
    "DistillResult",
    "StudentJudged",
    "FeatureDiff",
    "Influence",
    "ChosenImage",
    "Confusion",
    "Guess",
    "AuditResult",
    "AverageRanks",
    "Candidate",
    "Comparison",
    "Curve",
    "CurveReport",
    "DemoResult",
    "Effect",
    "EmbeddingMap",
    "ExtractResult",
    "Finding",
    "FindingKind",
    "FitResult",
    "Forecast",
    "Hit",
    "Hits",
    "KINDS",
    "ImagePair",
    "LabelResult",
    "Leaderboard",
    "NearestTrained",
    "OneClassReport",
    "OneClassResult",
    "Origin",
    "Pair",
    "Param",
    "PlanResult",
    "PlanStatus",
    "Point",
    "Prediction",
    "Predictions",
    "ProbeReport",
    "ProbeResult",
    "recommended_of",
    "Record",
    "Rows",
    "SearchResult",
    "SelfCheck",
    "Site",
    "Skipped",
    "Stage",
    "Stages",
    "Standing",
    "StatisticsFit",
    "StatisticsResult",
    "Unavailable",
    "UnlabelledGain",
    "UnlabelledReport",
    "UnitStatus",
    "as_packed",
    "from_plain",
    "html_table",
    "load_result",
    "result_from",
    "to_plain",
]

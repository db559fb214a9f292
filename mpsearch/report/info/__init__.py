"""The numbers of every figure and table, computed before anything is drawn."""

from mpsearch.report.info.bits import BitsInfo, LayerBits, bits_info
from mpsearch.report.info.curves import Curve, CurvesInfo, curves_info
from mpsearch.report.info.delivery import delivery_lines, replaced_sentence
from mpsearch.report.info.facts import BudgetCheck, Facts, Verdict, facts
from mpsearch.report.info.front import FrontInfo, front_costs, front_info
from mpsearch.report.info.history import HistoryInfo, history_info
from mpsearch.report.info.mixture import MixtureInfo, MixtureRow, mixture_infos
from mpsearch.report.info.points import Point
from mpsearch.report.info.signals import SignalInfo, signal_infos, spearman

__all__ = [
    "BitsInfo",
    "BudgetCheck",
    "Curve",
    "CurvesInfo",
    "Facts",
    "FrontInfo",
    "HistoryInfo",
    "LayerBits",
    "MixtureInfo",
    "MixtureRow",
    "Point",
    "SignalInfo",
    "Verdict",
    "bits_info",
    "curves_info",
    "delivery_lines",
    "facts",
    "front_costs",
    "front_info",
    "history_info",
    "mixture_infos",
    "replaced_sentence",
    "signal_infos",
    "spearman",
]

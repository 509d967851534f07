"""Technical indicators of a series of closes, oldest first; None where a window is not full yet.

The usual definitions: Wilder's RSI, moving averages that begin with a simple mean, Bollinger bands with the standard
deviation of the population.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

Values = list[float | None]


def sma(closes: Sequence[float], window: int) -> Values:
    """Simple moving average."""
    means = [sum(closes[end - window : end]) / window for end in range(window, len(closes) + 1)]
    return _aligned(means, len(closes))


def ema(closes: Sequence[float], window: int) -> Values:
    """Exponential moving average."""
    return _aligned(_smoothed(closes, window, 2 / (window + 1)), len(closes))


def rsi(closes: Sequence[float], window: int = 14) -> Values:
    """Relative strength index: 100 where prices only rose, 0 where they only fell; 50 where they stood still."""
    changes = [after - before for before, after in pairwise(closes)]
    gains = _smoothed([max(change, 0.0) for change in changes], window, 1 / window)
    losses = _smoothed([max(-change, 0.0) for change in changes], window, 1 / window)
    strength = [100 * gain / (gain + loss) if gain + loss else 50.0 for gain, loss in zip(gains, losses, strict=True)]
    return _aligned(strength, len(closes))


def macd(closes: Sequence[float], fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Values, Values, Values]:
    """Moving average convergence/divergence: its line, its signal line, and the difference of the two."""
    slowly = _smoothed(closes, slow, 2 / (slow + 1))
    quickly = _smoothed(closes[slow - fast :], fast, 2 / (fast + 1))
    line = [quick - slow for quick, slow in zip(quickly, slowly, strict=True)]
    smooth = _smoothed(line, signal, 2 / (signal + 1))
    line = line[signal - 1 :]
    histogram = [value - average for value, average in zip(line, smooth, strict=True)]
    return _aligned(line, len(closes)), _aligned(smooth, len(closes)), _aligned(histogram, len(closes))


def bollinger(closes: Sequence[float], window: int = 20, width: float = 2) -> tuple[Values, Values]:
    """Bollinger bands: the upper one and the lower one, `width` standard deviations around the moving average."""
    upper, lower = [], []
    for end in range(window, len(closes) + 1):
        within = closes[end - window : end]
        mean = sum(within) / window
        deviation = sqrt(sum((value - mean) ** 2 for value in within) / window)
        upper.append(mean + width * deviation)
        lower.append(mean - width * deviation)
    return _aligned(upper, len(closes)), _aligned(lower, len(closes))


def all_indicators(closes: Sequence[float]) -> dict[str, Values]:
    """Every indicator that is stored, by its name."""
    line, signal, histogram = macd(closes)
    upper, lower = bollinger(closes)
    return {
        "sma_20": sma(closes, 20),
        "ema_20": ema(closes, 20),
        "rsi_14": rsi(closes),
        "macd": line,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "bollinger_upper": upper,
        "bollinger_lower": lower,
    }


def _smoothed(values: Sequence[float], window: int, weight: float) -> list[float]:
    """Exponential smoothing that begins with the mean of the first window."""
    if len(values) < window:
        return []
    smooth = [sum(values[:window]) / window]
    for value in values[window:]:
        smooth.append(smooth[-1] + weight * (value - smooth[-1]))
    return smooth


def _aligned(values: Sequence[float], length: int) -> Values:
    return [*[None] * (length - len(values)), *values]

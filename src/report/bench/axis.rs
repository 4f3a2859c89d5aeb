//! An axis: from a value to a pixel, and where to write which number.

/// Values spread further than this are drawn on a logarithmic axis.
const LOG_FROM: f64 = 6.0;
/// Room beside the lowest value, by the distance to the highest.
const MARGIN: f64 = 0.06;
/// An axis over positive values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Is it logarithmic?
    pub(super) log: bool,
    /// Lowest and highest value, as logarithms on a logarithmic axis.
    span: (f64, f64),
    /// Their pixels.
    pixels: (f64, f64),
}

impl Axis {
    /// An axis between two pixels for all of `values`, which are above zero. `room` is beyond the highest, for what is to
    /// stand there, by the distance to the lowest.
    pub(super) fn new(values: impl Iterator<Item = f64> + Clone, pixels: (f64, f64), room: f64) -> Axis {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1.0) };
        let log = high / low > LOG_FROM;
        let (low, high) = if log { (low.log10(), high.log10()) } else { (low, high) };
        let length = if high > low { high - low } else { high.abs().max(1e-3) };
        Axis { log, span: (low - length * MARGIN, high + length * room), pixels }
    }

    /// The pixel of `value`.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        let part = (value - self.span.0) / (self.span.1 - self.span.0);
        self.pixels.0 + part * (self.pixels.1 - self.pixels.0)
    }

    /// Round values on the axis, rising; on a logarithmic one at least `apart` pixels from each other.
    pub(super) fn ticks(&self, apart: f64) -> Vec<f64> {
        if !self.log {
            return even(self.span);
        }
        let distance = |pair: &[f64]| match pair {
            [one, other] => (self.at(*other) - self.at(*one)).abs(),
            _ => f64::INFINITY,
        };
        let has_room = |ticks: &Vec<f64>| ticks.windows(2).all(|pair| distance(pair) >= apart);
        let decades = |mantissas: &[f64]| {
            let exponents = whole(self.span.0.floor())..=whole(self.span.1.ceil());
            let values =
                exponents.flat_map(|power| mantissas.iter().map(move |mantissa| mantissa * 10_f64.powi(power)));
            values.filter(|value| self.spans(value.log10())).collect::<Vec<_>>()
        };
        [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]]
            .into_iter()
            .map(decades)
            // Many decades: every second, third …
            .chain((2..10).map(|step| decades(&[1.0]).into_iter().step_by(step).collect()))
            .find(has_room)
            .unwrap_or_default()
    }

    fn spans(&self, value: f64) -> bool {
        (self.span.0..=self.span.1).contains(&value)
    }
}

/// Three to seven multiples of 1, 2 or 5 times a power of ten.
fn even((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 7.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|by| by * power).find(|step| *step >= rough).unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    (0..20).map(|index| (first + f64::from(index)) * step).take_while(|value| *value <= high).collect()
}

/// A small whole number.
fn whole(value: f64) -> i32 {
    // No 64-bit value has more than 20 digits.
    (-40..=40).find(|power| f64::from(*power) >= value).unwrap_or(40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64]) -> Vec<f64> {
        Axis::new(values.iter().copied(), (0.0, 400.0), MARGIN).ticks(50.0)
    }

    #[test]
    fn round_numbers_inside() {
        assert_eq!(ticks(&[10.0, 20.0]), [10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
        assert_eq!(ticks(&[10.0, 99.0]), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(ticks(&[1.0, 900.0]), [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]);
        assert_eq!(ticks(&[1.0, 1e5]), [1.0, 1e1, 1e2, 1e3, 1e4, 1e5]);
        let many = ticks(&[1.0, 1e19]);
        assert!((4..=8).contains(&many.len()), "{many:?}");
    }

    #[test]
    fn one_value_and_none() {
        for values in [&[5.0][..], &[], &[1.0, 1.0]] {
            let axis = Axis::new(values.iter().copied(), (0.0, 100.0), MARGIN);
            assert!(!axis.log && axis.ticks(50.0).len() >= 2, "{axis:?}");
            assert!(values.iter().all(|value| (40.0..60.0).contains(&axis.at(*value))));
        }
    }

    #[test]
    fn ends_have_room() {
        for values in [[1.0, 2.0], [1.0, 1000.0]] {
            let axis = Axis::new(values.iter().copied(), (0.0, 100.0), MARGIN);
            assert!(axis.at(values[0]) > 4.0 && axis.at(values[1]) < 96.0);
        }
    }
}

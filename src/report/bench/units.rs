//! Numbers as people read them.

/// `bytes` in the largest binary unit that leaves at least 1, with this many significant digits.
pub(super) fn bytes(bytes: u64, digits: usize) -> String {
    let value = bytes as f64;
    match bytes {
        0..0x400 => format!("{bytes} B"),
        0x400..0x10_0000 => format!("{} KiB", significant(value / 1024.0, digits)),
        0x10_0000..0x4000_0000 => format!("{} MiB", significant(value / f64::from(1 << 20), digits)),
        _ => format!("{} GiB", significant(value / f64::from(1 << 30), digits)),
    }
}

/// A time in the largest decimal unit that leaves at least 1, with three significant digits.
pub(super) fn time(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", significant(value / 1e3, 3)),
        1_000_000..1_000_000_000 => format!("{} ms", significant(value / 1e6, 3)),
        _ => format!("{} s", significant(value / 1e9, 3)),
    }
}

/// `value`, at least 1, with `digits` digits, but no fewer than those before the point.
fn significant(value: f64, digits: usize) -> String {
    let before = [10.0, 100.0, 1000.0].iter().filter(|bound| value >= **bound).count() + 1;
    format!("{value:.*}", digits.saturating_sub(before))
}

/// `value` without zeros behind its last digit.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_or_four_digits() {
        assert_eq!(bytes(0, 4), "0 B");
        assert_eq!(bytes(1023, 4), "1023 B");
        assert_eq!(bytes(1024, 4), "1.000 KiB");
        assert_eq!(bytes(1_184_804, 4), "1.130 MiB");
        assert_eq!(bytes(12_123_580, 3), "11.6 MiB");
        assert_eq!(bytes(1000 << 20, 3), "1000 MiB");
        assert_eq!(bytes(3 << 30, 3), "3.00 GiB");
        assert_eq!(time(999), "999 ns");
        assert_eq!(time(12_340), "12.3 µs");
        assert_eq!(time(86_200_000), "86.2 ms");
        assert_eq!(time(4_104_000_000), "4.10 s");
        assert_eq!(time(1_234_000_000_000), "1234 s");
        assert_eq!(plain(0.1 + 0.2), "0.3");
        assert_eq!(plain(1000.0), "1000");
    }
}

//! Names beside their marks, none over another.

/// The width of a character that no usual font exceeds by much, in pixels at the size of a label.
const CHAR: f64 = 7.2;
/// Height of a label, of which a quarter is below the baseline.
const HEIGHT: f64 = 14.0;
/// How far from its mark a label may begin, nearest first.
const DISTANCES: [f64; 8] = [9.0, 18.0, 30.0, 44.0, 60.0, 80.0, 105.0, 130.0];
/// Directions from a mark, the usual ones first: right, left, above, below, and between.
const DIRECTIONS: [(f64, f64); 16] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.7, -0.7),
    (0.7, 0.7),
    (-0.7, -0.7),
    (-0.7, 0.7),
    (0.9, -0.4),
    (0.9, 0.4),
    (-0.9, -0.4),
    (-0.9, 0.4),
    (0.4, -0.9),
    (0.4, 0.9),
    (-0.4, -0.9),
    (-0.4, 0.9),
];
/// Beyond this distance a line shows where a label belongs.
const LEADER_FROM: f64 = 12.0;

/// An area in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    fn meets(&self, other: &Area) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn holds(&self, other: &Area) -> bool {
        self.left <= other.left && other.right <= self.right && self.top <= other.top && other.bottom <= self.bottom
    }

    /// Without a strip of this width inside of its edges.
    pub(super) fn shrunk(&self, by: f64) -> Area {
        Area { left: self.left + by, top: self.top + by, right: self.right - by, bottom: self.bottom - by }
    }

    fn around((x, y): (f64, f64), radius: f64) -> Area {
        Area { left: x - radius, top: y - radius, right: x + radius, bottom: y + radius }
    }
}

/// Where a label goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Label {
    /// What it covers.
    pub(super) area: Area,
    /// The line from its mark, when it is not right beside it.
    pub(super) leader: Option<[(f64, f64); 2]>,
}

impl Label {
    /// The beginning of its baseline.
    pub(super) fn start(&self) -> (f64, f64) {
        (self.area.left, self.area.bottom - HEIGHT / 4.0)
    }

    /// Is `area` in the way of its leader?
    fn leads_over(&self, area: &Area) -> bool {
        self.leader.is_some_and(|ends| meets_any(&between(&ends, 3.0), area))
    }
}

/// To be on the front's line, and to lead over another mark, is as bad as to be that many pixels further away.
/// So is a place right above or below: it bars the way for the lines of others.
const ON_LINE: f64 = 18.0;
const CENTRED: f64 = 14.0;
const OVER_MARK: f64 = 60.0;

/// Places the names of `marks` (centre, name) inside of `panel`: none covers another or a mark, each is as near to its
/// own as can be, and off the `line` where it can be. `None` is a name for which there is no room.
pub(super) fn place(
    marks: &[((f64, f64), &str)],
    radius: f64,
    line: &[(f64, f64)],
    panel: &Area,
) -> Vec<Option<Label>> {
    let discs: Vec<Area> = marks.iter().map(|(centre, _)| Area::around(*centre, radius + 1.0)).collect();
    let dots: Vec<(f64, f64)> = line.windows(2).flat_map(|ends| between(ends, 4.0)).collect();
    let mut placed: Vec<Option<Label>> = Vec::new();
    for ((centre, name), own) in marks.iter().zip(&discs) {
        let is_free = |label: &Label| {
            panel.holds(&label.area)
                && !discs.iter().any(|disc| disc.meets(&label.area))
                && !placed.iter().flatten().any(|other| {
                    label.area.meets(&other.area) || label.leads_over(&other.area) || other.leads_over(&label.area)
                })
        };
        let cost = |label: &Label| {
            let on_line = if meets_any(&dots, &label.area) { ON_LINE } else { 0.0 };
            let over_marks = discs.iter().filter(|disc| *disc != own && label.leads_over(disc));
            on_line + over_marks.map(|_| OVER_MARK).sum::<f64>()
        };
        let free = candidates(*centre, name).filter(|(_, label)| is_free(label));
        let costed = free.map(|(by_itself, label)| (by_itself + cost(&label), label));
        // Of equal ones the first.
        placed.push(costed.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, label)| label));
    }
    placed
}

/// Is one of `dots` in `area`?
fn meets_any(dots: &[(f64, f64)], area: &Area) -> bool {
    dots.iter().any(|dot| Area::around(*dot, 1.0).meets(area))
}

/// Places for a label, the usual ones first, each with what it costs by itself: its distance from the mark.
fn candidates((x, y): (f64, f64), name: &str) -> impl Iterator<Item = (f64, Label)> {
    let width = width(name);
    DISTANCES.into_iter().flat_map(move |far| {
        DIRECTIONS.into_iter().map(move |(right, down)| {
            let end = (x + right * far, y + down * far);
            // Beside the end of the line, or centred over or under it.
            let left = match right {
                0.0 => end.0 - width / 2.0,
                right if right < 0.0 => end.0 - width,
                _ => end.0,
            };
            let top = end.1 - HEIGHT / 2.0 + down * HEIGHT / 2.0;
            let area = Area { left, top, right: left + width, bottom: top + HEIGHT };
            let leader = (far > LEADER_FROM).then_some([(x, y), end]);
            (if right == 0.0 { far + CENTRED } else { far }, Label { area, leader })
        })
    })
}

/// About as wide as `name` will be.
fn width(name: &str) -> f64 {
    name.chars().map(|_| CHAR).sum::<f64>()
}

/// Points on a line, this far apart, its ends among them.
fn between(ends: &[(f64, f64)], step: f64) -> Vec<(f64, f64)> {
    let [(x1, y1), (x2, y2)] = ends else { return Vec::new() };
    let length = (x2 - x1).hypot(y2 - y1);
    let along = std::iter::successors(Some(0.0), |at| Some(at + step)).take_while(|at| *at < length);
    let dots = along.map(|at| (x1 + (x2 - x1) * at / length, y1 + (y2 - y1) * at / length));
    dots.chain([(*x2, *y2)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: Area = Area { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };

    #[track_caller]
    fn check(marks: &[((f64, f64), &str)]) -> usize {
        let labels: Vec<Label> = place(marks, 4.0, &[], &PANEL).into_iter().flatten().collect();
        for (index, label) in labels.iter().enumerate() {
            assert!(PANEL.holds(&label.area), "{label:?}");
            assert!(marks.iter().all(|(centre, _)| !Area::around(*centre, 4.0).meets(&label.area)), "{label:?}");
            assert!(labels.iter().skip(index + 1).all(|other| !other.area.meets(&label.area)), "{label:?}");
        }
        labels.len()
    }

    #[test]
    fn no_two_overlap() {
        // Spread, all in one place, as far into a corner as the margins of an axis let them, far too many.
        let spread: Vec<_> =
            (0..12).map(|i| ((f64::from(i) * 33.0 + 5.0, f64::from(i * 97 % 290) + 5.0), "zstd-19")).collect();
        assert_eq!(check(&spread), 12);
        let heap: Vec<_> = (0..6).map(|i| ((200.0 + f64::from(i), 150.0 - f64::from(i)), "gzip-best")).collect();
        assert_eq!(check(&heap), 6);
        let corner: Vec<_> = (0..2).map(|i| ((376.0 - f64::from(i), 18.0), "xz-split")).collect();
        assert_eq!(check(&corner), 2);
        check(&(0..60).map(|i| ((200.0, 150.0 + f64::from(i) / 10.0), "lz4")).collect::<Vec<_>>());
    }

    #[test]
    fn a_lone_name_is_right_beside_its_mark() {
        let labels = place(&[((50.0, 50.0), "xz")], 4.0, &[], &PANEL);
        assert!(labels[0].is_some_and(|label| label.leader.is_none() && label.area.left == 59.0), "{labels:?}");
    }
}

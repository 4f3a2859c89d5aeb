//! SVG: shapes, words, and two colour schemes. What to draw, and where, is its callers' business.
//!
//! A drawing needs no other file. It is light or dark as whoever looks at it likes, on a ground of its own, so that it
//! can be read on any page. Coordinates are pixels, x to the right and y down.

use crate::bytes::is_printable;

/// What a shape is for; the style sheet gives it its colours.
const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',Arial,sans-serif;fill:#1f2328}\
.head{font-size:15px;font-weight:600}.strong{font-weight:600}.quiet{fill:#59636e}\
.halo{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.ground{fill:#fff}.frame{fill:none;stroke:#8c959f}.grid{stroke:#e4e8ec}.leader{stroke:#8c959f}\
.front{fill:none;stroke:#0969da;stroke-width:2;stroke-linejoin:round}\
.mark{fill:#fff;stroke:#59636e;stroke-width:1.5}.best{fill:#0969da;stroke:#0969da}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.quiet{fill:#9198a1}.halo{stroke:#0d1117}\
.ground{fill:#0d1117}.frame,.leader{stroke:#6e7681}.grid{stroke:#262c34}\
.front{stroke:#58a6ff}.mark{fill:#0d1117;stroke:#9198a1}.best{fill:#58a6ff;stroke:#58a6ff}}";

/// Where a text has its x coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing in the making.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// An empty drawing; `title` is what a screen reader says of it.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Svg {
        let (w, h, title) = (number(width), number(height), escaped(title));
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{w}\" height=\"{h}\"/>\n"
        );
        Svg { text }
    }

    /// Adds rules to the style sheet.
    pub(super) fn style(&mut self, rules: &str) {
        self.put(&format!("<style>{rules}</style>"));
    }

    /// A filled shape.
    pub(super) fn polygon(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        self.put(&format!("<polygon class=\"{class}\" points=\"{}\"/>", points.join(" ")));
    }

    /// Opens a group that shows `title` when the pointer is over it.
    pub(super) fn open(&mut self, title: &str) {
        self.put(&format!("<g><title>{}</title>", escaped(title)));
    }

    /// Closes the group.
    pub(super) fn close(&mut self) {
        self.put("</g>");
    }

    /// A word, its baseline at `y`.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y, text) = (number(x), number(y), escaped(text));
        self.put(&format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{text}</text>"));
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (x1, y1, x2, y2) = (number(from.0), number(from.1), number(to.0), number(to.1));
        self.put(&format!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"));
    }

    /// A line from point to point.
    pub(super) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        self.put(&format!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" ")));
    }

    /// A rectangle.
    pub(super) fn rect(&mut self, from: (f64, f64), size: (f64, f64), class: &str) {
        let (x, y, width, height) = (number(from.0), number(from.1), number(size.0), number(size.1));
        self.put(&format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"));
    }

    /// A circle.
    pub(super) fn circle(&mut self, centre: (f64, f64), radius: f64, class: &str) {
        let (x, y, r) = (number(centre.0), number(centre.1), number(radius));
        self.put(&format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"/>"));
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> String {
        self.put("</svg>");
        self.text
    }

    fn put(&mut self, element: &str) {
        self.text.push_str(element);
        self.text.push('\n');
    }
}

/// To a tenth of a pixel.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Text that XML takes for text. What does not show as what it is, which is more than what XML 1.0 (2.2) cannot say at all,
/// becomes U+FFFD; a line break is one.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c => out.push(if is_printable(c) { c } else { '\u{fffd}' }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_the_file() {
        assert_eq!(
            escaped("a<b> & \"c\"\u{1}\u{1b}\u{ffff}\u{202e}"),
            "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(number(12.04), "12");
        assert_eq!(number(-0.25), "-0.2");
    }
}

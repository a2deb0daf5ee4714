//! Curves as SVG.

use super::escaped;
use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 52.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 18.0;
const COLOURS: [&str; 4] = ["#1b6ca8", "#c8553d", "#3f7d4f", "#8a6bb1"];

/// An axis from one value to another.
#[derive(Debug, Clone, Default)]
pub struct Axis {
    /// What it is.
    pub label: String,
    /// The value at its beginning.
    pub from: f64,
    /// The value at its end; not that at its beginning.
    pub to: f64,
    /// Values with their names.
    pub ticks: Vec<(f64, String)>,
}

/// A line through points.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Its name; nameless ones are not in the legend.
    pub name: String,
    /// Its points, held within the axes.
    pub points: Vec<(f64, f64)>,
    /// Whether the area below is filled.
    pub filled: bool,
    /// Whether it is but a help to the eye.
    pub faint: bool,
}

/// A chart.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The file's name, without its end.
    pub name: &'static str,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Its lines.
    pub series: Vec<Series>,
}

impl Axis {
    /// Where a value lies, 0 to 1.
    fn at(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

impl Chart {
    /// The chart, to stand within an HTML page.
    #[must_use]
    pub fn svg(&self) -> String {
        self.draw("")
    }

    /// The chart as a file of its own.
    #[must_use]
    pub fn file(&self) -> String {
        let named = " xmlns=\"http://www.w3.org/2000/svg\" style=\"background: #fff\"";
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}",
            self.draw(named)
        )
    }

    fn draw(&self, attributes: &str) -> String {
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\"{attributes}>\n\
             <title>{}</title>\n",
            escaped(&self.title)
        );
        // Writing to a String cannot fail.
        let _ = self.axes(&mut out);
        let shown = self.series.iter().filter(|s| !s.faint);
        for (series, colour) in shown.zip(COLOURS.iter().cycle()) {
            let _ = self.line(&mut out, series, colour);
        }
        for series in self.series.iter().filter(|s| s.faint) {
            let _ = self.line(&mut out, series, "#9aa3ab");
        }
        let _ = self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = LEFT + self.x.at(x) * (WIDTH - LEFT - RIGHT);
        let down = HEIGHT - BOTTOM - self.y.at(y) * (HEIGHT - TOP - BOTTOM);
        (across, down)
    }

    fn axes(&self, out: &mut String) -> std::fmt::Result {
        let (low, high) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, name) in &self.x.ticks {
            let (x, _) = self.place((*value, self.y.from));
            writeln!(
                out,
                "<path d=\"M{x:.1} {TOP}V{low}\" stroke=\"#e3e6e9\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                low + 17.0,
                escaped(name)
            )?;
        }
        for (value, name) in &self.y.ticks {
            let (_, y) = self.place((self.x.from, *value));
            writeln!(
                out,
                "<path d=\"M{LEFT} {y:.1}H{high}\" stroke=\"#e3e6e9\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 7.0,
                y + 4.0,
                escaped(name)
            )?;
        }
        let middle = f64::midpoint(LEFT, high);
        let centre = f64::midpoint(TOP, low);
        writeln!(
            out,
            "<path d=\"M{LEFT} {TOP}V{low}H{high}\" fill=\"none\" stroke=\"#1d2329\"/>\n\
             <text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {centre}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            HEIGHT - 12.0,
            escaped(&self.x.label),
            escaped(&self.y.label)
        )
    }

    fn line(&self, out: &mut String, series: &Series, colour: &str) -> std::fmt::Result {
        let mut path = String::new();
        for (nth, point) in series.points.iter().enumerate() {
            let (x, y) = self.place(*point);
            write!(path, "{}{x:.2} {y:.2}", if nth == 0 { 'M' } else { 'L' })?;
        }
        if let (true, Some(first), Some(last)) =
            (series.filled, series.points.first(), series.points.last())
        {
            let ends = [last.0, first.0].map(|x| self.place((x, self.y.from)));
            let [(a, base), (b, _)] = ends;
            writeln!(
                out,
                "<path d=\"{path}L{a:.2} {base:.2}L{b:.2} {base:.2}Z\" fill=\"{colour}\" \
                 fill-opacity=\"0.25\"/>"
            )?;
        }
        let dashes = if series.faint {
            " stroke-dasharray=\"4 4\""
        } else {
            ""
        };
        writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dashes}/>"
        )
    }

    fn legend(&self, out: &mut String) -> std::fmt::Result {
        let named = self.series.iter().filter(|s| !s.faint);
        let named = named.zip(COLOURS.iter().cycle());
        let named = named.filter(|(s, _)| !s.name.is_empty());
        for (nth, (series, colour)) in (0_u8..).zip(named) {
            let y = TOP + 14.0 + 17.0 * f64::from(nth);
            writeln!(
                out,
                "<path d=\"M{} {y}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                WIDTH - RIGHT - 168.0,
                WIDTH - RIGHT - 144.0,
                y + 4.0,
                escaped(&series.name)
            )?;
        }
        Ok(())
    }
}

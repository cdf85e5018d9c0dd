//! Where along an axis of candidates a change came in: a bar for each candidate, in order.

use super::{Box, Drawing};
use crate::report::search::Picture;
use crate::report::shown::short;
use crate::stats::percent;

const LEFT: f64 = 260.0;
const COUNT: f64 = 70.0;
const PLOT: f64 = 320.0;
const RIGHT: f64 = 120.0;
const LINE: f64 = 20.0;

/// Draws the posterior of a search.
pub fn posterior(picture: &Picture) -> Drawing {
    let mut drawing = Drawing::new(
        LEFT + COUNT + PLOT + RIGHT,
        format!(
            "probability that {} came with each candidate; the table has the figures",
            picture.class
        ),
    );
    let origin = LEFT + COUNT;
    let bottom = (picture.rows.len() + 1) as f64 * LINE;
    for quarter in 0_u8..=4 {
        let x = origin + f64::from(quarter) / 4.0 * PLOT;
        drawing.line((x, 0.0), (x, bottom), "grid");
        drawing.text(x, bottom + 14.0, "mid faint", &percent(f64::from(quarter) / 4.0));
    }
    let mut y = 0.0;
    let mut line = |name: &str, count: &str, p: Option<f64>, title: &str| {
        let middle = y + LINE / 2.0 + 4.0;
        drawing.text(LEFT - 12.0, middle, "end", &short(name, 34));
        drawing.text(origin - 12.0, middle, "end faint", count);
        if let Some(p) = p {
            let at = Box {
                x: origin,
                y: y + 3.0,
                width: p.clamp(0.0, 1.0) * PLOT,
                height: LINE - 6.0,
            };
            drawing.cell("o-failed", at, "", title);
            if p >= 0.005 {
                drawing.text(origin + at.width + 6.0, middle, "", &percent(p));
            }
        } else {
            drawing.text(origin + 6.0, middle, "faint", title);
        }
        y += LINE;
    };
    for (at, row) in picture.rows.iter().enumerate() {
        let count = row.count.to_string();
        match &row.left_out {
            Some(_) => line(&row.name, &count, None, "left out"),
            None if at == 0 => line(&row.name, &count, None, ""),
            None => {
                let title = format!("{}: {count}, {}", row.name, percent(row.posterior));
                line(&row.name, &count, Some(row.posterior), &title);
            }
        }
    }
    let total = picture.total().to_string();
    line(
        "none of these",
        &total,
        Some(picture.none),
        &format!("none of these: {}", percent(picture.none)),
    );
    drawing.height = bottom + 20.0;
    drawing
}

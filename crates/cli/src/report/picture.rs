//! Pictures as inline SVG: bars of sizes, and the growth over commits.

use std::fmt::Write as _;

use super::html::escaped;

/// The width of a bar in a table.
const BAR: f64 = 160.0;
/// The size of the picture of the growth.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 110.0;
/// The most columns that are drawn, so that each is a few pixels wide.
const MOST_COLUMNS: usize = 180;

/// A commit in the picture of the growth.
#[derive(Debug)]
pub(super) struct Point {
    /// The value after the commit.
    pub value: u64,
    /// What is shown for it.
    pub told: String,
}

/// A horizontal bar that shows `value` of `most`; a small value is still seen.
pub(super) fn bar(value: u64, most: u64, told: &str) -> String {
    let width = if value == 0 { 0.0 } else { (BAR * value as f64 / most.max(1) as f64).max(1.0) };
    format!(
        "<svg role=\"img\" aria-label=\"{}\" width=\"{BAR}\" height=\"14\">\
         <rect class=\"empty\" y=\"3\" width=\"{BAR}\" height=\"8\" rx=\"2\"/>\
         <rect class=\"mark\" y=\"3\" width=\"{width:.1}\" height=\"8\" rx=\"2\"/></svg>",
        escaped(told),
    )
}

/// A column for each commit, the oldest first, with a caption. Of many commits, the last of each
/// group of neighbours is drawn.
pub(super) fn growth(caption: &str, points: &[Point]) -> String {
    let group = points.len().div_ceil(MOST_COLUMNS).max(1);
    let drawn: Vec<&Point> = points.chunks(group).filter_map(<[Point]>::last).collect();
    let most = drawn.iter().map(|point| point.value).max().unwrap_or(0).max(1);
    let step = WIDTH / drawn.len().max(1) as f64;
    let mut columns = String::new();
    for (place, point) in drawn.iter().enumerate() {
        let height = HEIGHT * point.value as f64 / most as f64;
        let _ = write!(
            columns,
            "<g><title>{}</title><rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{height:.1}\"/></g>",
            escaped(&point.told),
            step * place as f64,
            HEIGHT - height,
            // A thin gap separates the columns; one commit alone does not fill the picture.
            (step * 0.9).min(40.0),
        );
    }
    let caption = escaped(caption);
    format!(
        "<figure><figcaption>{caption}</figcaption>\
         <svg role=\"img\" aria-label=\"{caption}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\">\
         <rect class=\"empty\" y=\"{:.1}\" width=\"{WIDTH}\" height=\"1\"/>{columns}</svg></figure>\n",
        HEIGHT - 1.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[u64]) -> Vec<Point> {
        values.iter().map(|value| Point { value: *value, told: format!("<{value}>") }).collect()
    }

    #[test]
    fn every_commit_is_a_column_until_there_are_too_many() {
        for (commits, columns) in [(0_u64, 0), (1, 1), (180, 180), (181, 91), (1000, 167)] {
            let values: Vec<u64> = (1..=commits).collect();
            let picture = growth("rows", &points(&values));
            assert_eq!(picture.matches("<title>").count(), columns, "{commits}");
            // The newest state is always drawn.
            assert_eq!(picture.contains(&format!("&lt;{commits}&gt;")), commits > 0);
        }
    }

    #[test]
    fn pictures_of_nothing_and_of_huge_values_are_valid() {
        for picture in [
            growth("a & b", &points(&[0, 0])),
            growth("a & b", &points(&[u64::MAX])),
            bar(0, 0, "a & b"),
            bar(u64::MAX, 1, "a & b"),
        ] {
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
            assert!(picture.contains("a &amp; b"), "{picture}");
        }
    }
}

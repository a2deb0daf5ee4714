//! A report as HTML.

use super::{Gallery, Report, Section, Table, escaped};
use crate::cli::error::CliError;
use std::fmt::Write;
use std::path::Path;

/// Style, and the rule that nothing is fetched, whatever a label holds.
const HEAD: &str = include_str!("head.html");

/// Renders the report; `picture` gives an image's data URI.
pub fn html(
    report: &Report,
    picture: &dyn Fn(&Path) -> Result<String, CliError>,
) -> Result<String, CliError> {
    let title = escaped(&report.title);
    let mut page = format!("{HEAD}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n");
    for warning in &report.warnings {
        add(
            &mut page,
            &format!("<p class=\"warning\">{}</p>\n", escaped(warning)),
        );
    }
    page.push_str("<table class=\"setting\">\n");
    for (name, value) in &report.setting {
        row(&mut page, "td", [name.as_str(), value.as_str()]);
    }
    page.push_str("</table>\n");
    for section in &report.sections {
        match section {
            Section::Table(table) => self::table(&mut page, table),
            Section::Chart(chart) => {
                heading(&mut page, &chart.title, "");
                page.push_str(&chart.svg());
            }
            Section::Pairs(gallery) => pairs(&mut page, gallery, picture)?,
        }
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

/// Writing to a String cannot fail.
fn add(page: &mut String, text: &str) {
    let _ = page.write_str(text);
}

fn heading(page: &mut String, title: &str, note: &str) {
    add(page, &format!("<h2>{}</h2>\n", escaped(title)));
    if !note.is_empty() {
        add(page, &format!("<p class=\"note\">{}</p>\n", escaped(note)));
    }
}

fn row<'a>(page: &mut String, cell: &str, cells: impl IntoIterator<Item = &'a str>) {
    page.push_str("<tr>");
    for text in cells {
        add(page, &format!("<{cell}>{}</{cell}>", escaped(text)));
    }
    page.push_str("</tr>\n");
}

fn table(page: &mut String, table: &Table) {
    heading(page, &table.title, &table.note);
    page.push_str("<table>\n");
    if !table.header.is_empty() {
        row(page, "th", table.header.iter().copied());
    }
    for cells in &table.rows {
        row(page, "td", cells.iter().map(String::as_str));
    }
    page.push_str("</table>\n");
}

fn pairs(
    page: &mut String,
    gallery: &Gallery,
    picture: &dyn Fn(&Path) -> Result<String, CliError>,
) -> Result<(), CliError> {
    heading(page, &gallery.title, &gallery.note);
    if gallery.pairs.is_empty() {
        page.push_str("<p>None.</p>\n");
        return Ok(());
    }
    page.push_str("<div class=\"pairs\">\n");
    for pair in &gallery.pairs {
        page.push_str("<figure><div>");
        for (file, name) in &pair.pictures {
            let (source, name) = (picture(file)?, escaped(name));
            let image = format!("<img src=\"{source}\" alt=\"{name}\" title=\"{name}\">");
            page.push_str(&image);
        }
        let [a, b] = [0, 1].map(|i| escaped(&pair.pictures[i].1));
        let text = escaped(&pair.text);
        add(
            page,
            &format!(
                "</div><figcaption>{a}<br>{b}<br><strong>{text}</strong></figcaption></figure>\n"
            ),
        );
    }
    page.push_str("</div>\n");
    Ok(())
}

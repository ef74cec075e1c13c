//! Columns for people: as wide as they must be, the last one as it comes.

use super::{Paint, one_line};

/// How a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// As it is.
    Plain,
    /// Matters less.
    Dim,
    /// Is well.
    Good,
    /// Wants a look.
    Warn,
    /// Is wrong.
    Bad,
}

/// A cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell(String, Look);

impl Cell {
    /// A cell that looks in some way.
    pub(crate) fn new(text: impl AsRef<str>, look: Look) -> Self {
        Self(one_line(text.as_ref()), look)
    }

    /// A plain cell.
    pub(crate) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Look::Plain)
    }

    /// A cell that matters less.
    pub(crate) fn dim(text: impl AsRef<str>) -> Self {
        Self::new(text, Look::Dim)
    }
}

/// Rows under a heading. Columns without any text are left out.
pub(crate) fn table(heading: &[&str], rows: &[Vec<Cell>], paint: Paint) -> String {
    let used: Vec<usize> =
        (0..heading.len()).filter(|i| rows.iter().any(|row| row.get(*i).is_some_and(|c| !c.0.is_empty()))).collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.0.chars().count());
        cells.chain([heading[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = used.iter().map(|i| width(*i)).collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = (String, usize)>| {
        let mut text = String::new();
        let mut gap = 0;
        for ((shown, plain), width) in cells.zip(&widths) {
            text.push_str(&" ".repeat(gap));
            text.push_str(&shown);
            gap = width.saturating_sub(plain) + 2;
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut used.iter().map(|i| (paint.bold(heading[*i]), heading[*i].chars().count())));
    for row in rows {
        line(&mut used.iter().map(|i| match row.get(*i) {
            Some(Cell(text, look)) => (looked(text, *look, paint), text.chars().count()),
            None => (String::new(), 0),
        }));
    }
    out
}

/// Text that looks in some way.
pub(crate) fn looked(text: &str, look: Look, paint: Paint) -> String {
    if text.is_empty() {
        return String::new();
    }
    match look {
        Look::Plain => text.to_owned(),
        Look::Dim => paint.dim(text),
        Look::Good => paint.good(text),
        Look::Warn => paint.warn(text),
        Look::Bad => paint.bad(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let rows = [
            vec![Cell::plain("web"), Cell::new("converged", Look::Good), Cell::plain(""), Cell::plain("a\nb")],
            vec![Cell::plain("database"), Cell::new("ok", Look::Bad), Cell::plain(""), Cell::plain("")],
        ];
        let heading = ["STACK", "STATUS", "NEVER", "WHY"];
        let plain = table(&heading, &rows, Paint { on: false });
        insta::assert_snapshot!(plain, @"
        STACK     STATUS     WHY
        web       converged  a b
        database  ok
        ");
        let coloured = table(&heading, &rows, Paint { on: true });
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
        assert_ne!(coloured, plain);
    }
}

//! Tables, for terminals and for markdown.

/// Rows of cells under a header.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// How many columns, from the first, hold words.
    words: usize,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self {
            words: 1,
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Aligns the first `count` columns to the left; the others are numbers.
    #[must_use]
    pub fn words(mut self, count: usize) -> Self {
        self.words = count;
        self
    }

    /// Adds a row; missing cells are empty.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// With aligned columns.
    pub fn to_text(&self) -> String {
        let widths: Vec<_> = (0..self.header.len())
            .map(|column| {
                let cells = self
                    .rows
                    .iter()
                    .chain([&self.header])
                    .map(|row| &row[column]);
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| {
                    if column < self.words {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            out.push('\n');
        }
        out
    }

    /// As a table of markdown.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<_> = (0..self.header.len())
            .map(|n| if n < self.words { "---" } else { "---:" })
            .collect();
        let mut out = line(&self.header);
        out.push_str(&format!("| {} |\n", rule.join(" | ")));
        self.rows.iter().for_each(|row| out.push_str(&line(row)));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_pipes_are_escaped() {
        let mut table = Table::new(["a", "b"]);
        table.row(["µs|", "1"]);
        table.row(["x"]);
        assert_eq!(table.to_text(), "a    b\nµs|  1\nx\n");
        assert_eq!(
            table.to_markdown(),
            "| a | b |\n| --- | ---: |\n| µs\\| | 1 |\n| x |  |\n"
        );
    }
}

//! What the databases say differently.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, PoisonError, RwLock};

use crate::names::Place;

/// Statements kept rendered. More than there are, but for lists of unusual lengths.
const MOST_RENDERED: usize = 1024;

/// A database. MySQL is MariaDB as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// One of three.
    pub(crate) fn pick<T>(self, sqlite: T, postgres: T, mysql: T) -> T {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
            Self::MySql => mysql,
        }
    }

    /// How many places a statement has for a list of so many values; what is left over is
    /// filled with the last of them. Few lengths, so that statements are found prepared: in
    /// MySQL, where preparing is a round trip, fewer than in SQLite.
    pub(crate) fn padded(self, count: usize) -> usize {
        match (self, count) {
            (Self::MySql, 2..=8) => 8,
            (Self::MySql, 9..=64) => 64,
            (Self::MySql, 65..=1024) => 1024,
            _ => count.next_power_of_two(),
        }
    }

    /// The first word of a query that sorts or gathers long values. By default, MySQL
    /// sorts by the first 1,024 bytes, and gathers as many at most. MariaDB takes this
    /// setting before the statement, MySQL after its first word, each in what is a comment
    /// to the other; neither keeps it for the session.
    pub(crate) fn select_long(self) -> &'static str {
        self.pick(
            "SELECT",
            "SELECT",
            "/*M! SET STATEMENT max_sort_length = 16384, group_concat_max_len = 67108864 FOR */ \
             SELECT /*+ SET_VAR(max_sort_length = 16384) SET_VAR(group_concat_max_len = 67108864) */",
        )
    }

    /// The condition that a checkpoint is a record, and not what is left of one.
    pub(crate) fn is_current(self) -> &'static str {
        self.pick(
            "condemned_ms IS NULL",
            "condemned_ms IS NULL",
            "condemned = ''",
        )
    }

    /// The opposite.
    pub(crate) fn is_condemned(self) -> &'static str {
        self.pick(
            "condemned_ms IS NOT NULL",
            "condemned_ms IS NOT NULL",
            "condemned > ''",
        )
    }

    /// The column by which an index finds the packs of condemned checkpoints.
    pub(crate) fn condemned_pack(self) -> &'static str {
        self.pick("pack", "pack", "condemned")
    }

    /// The scheme of its URLs.
    pub(crate) fn scheme(self) -> &'static str {
        self.pick("sqlite", "postgres", "mysql")
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pick("SQLite", "PostgreSQL", "MySQL"))
    }
}

/// Turns templates into statements of one dialect, with the tables' names in them.
///
/// A template has `{name}` for the table of that name, and `?` for a parameter.
pub(crate) struct Sql {
    dialect: Dialect,
    place: Place,
    rendered: RwLock<HashMap<String, Arc<str>>>,
}

impl Sql {
    pub(crate) fn new(dialect: Dialect, place: Place) -> Self {
        Self {
            dialect,
            place,
            rendered: RwLock::default(),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The statement of a template; the same text each time, so that drivers find it
    /// prepared.
    pub(crate) fn text(&self, template: &str) -> Arc<str> {
        let rendered = self.rendered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = rendered.get(template) {
            return text.clone();
        }
        drop(rendered);
        let text: Arc<str> = self.render(template).into();
        let mut rendered = self
            .rendered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if rendered.len() < MOST_RENDERED {
            rendered.insert(template.to_owned(), text.clone());
        }
        text
    }

    fn render(&self, template: &str) -> String {
        let filled = self.place.fill(template);
        if self.dialect != Dialect::Postgres {
            return filled;
        }
        let mut out = String::with_capacity(filled.len() + 32);
        for (n, part) in filled.split('?').enumerate() {
            if n > 0 {
                // Writing to a string cannot fail.
                let _ = write!(out, "${n}");
            }
            out.push_str(part);
        }
        out
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql")
            .field("dialect", &self.dialect)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// `(?,?),(?,?)`: as many groups of as many parameters.
pub(crate) fn groups(count: usize, width: usize) -> String {
    let group = format!("({})", vec!["?"; width].join(","));
    vec![group; count].join(",")
}

/// A table of `count` packs and ordinals in MySQL. Without a cast the type of a parameter in
/// a list of columns is text, which random bytes are not.
pub(crate) fn pairs(count: usize) -> String {
    const PAIR: &str = "SELECT CAST(? AS BINARY(8)) AS pack, CAST(? AS SIGNED) AS ordinal";
    vec![PAIR; count].join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_where_they_have_to_be() {
        let place = Place::new(None, "cp_").unwrap();
        let template = "SELECT x FROM {threads} WHERE a = ? AND b = ?";
        let sql = Sql::new(Dialect::Postgres, place.clone());
        let expected = "SELECT x FROM cp_threads WHERE a = $1 AND b = $2";
        assert_eq!(&*sql.text(template), expected);
        assert_eq!(&*sql.text(template), expected);
        let sql = Sql::new(Dialect::Sqlite, place);
        assert_eq!(
            &*sql.text(template),
            template.replace("{threads}", "cp_threads")
        );
        assert_eq!(groups(2, 3), "(?,?,?),(?,?,?)");
    }
}

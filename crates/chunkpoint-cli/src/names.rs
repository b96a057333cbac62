//! URLs as they may be shown: without secrets.

use url::Url;

/// The URL without its password and without options, which may be secrets too.
pub(crate) fn redact(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return hosts(url).unwrap_or_else(|| "the URL given".into());
    };
    if parsed.password().is_some() {
        // It fails for URLs that have no host, and those have no password.
        parsed.set_password(Some("***")).ok();
    }
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.into()
}

/// Of a URL that names several hosts, which is no URL to others: all but who asks, and how.
fn hosts(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split(['?', '#']).next()?;
    let hosts = rest.rsplit('@').next()?;
    scheme
        .starts_with("mongodb")
        .then(|| format!("{scheme}://{hosts}"))
}

/// Replaces a URL that stands in a message.
pub(crate) fn redact_text(text: &str, argument: &str) -> String {
    // Of --option=URL, the URL.
    let url = match argument.find("://") {
        Some(colon) => {
            let start = argument[..colon].rfind('=').map_or(0, |at| at + 1);
            &argument[start..]
        }
        None => return text.to_owned(),
    };
    text.replace(url, &redact(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out() {
        for (url, shown) in [
            ("file:///var/x?durability=disk", "file:///var/x"),
            (
                "postgres://ada:secret@host/db?sslkey=secret",
                "postgres://ada:***@host/db",
            ),
            ("redis://:secret@host", "redis://:***@host"),
            (
                "mongodb://me:secret@a:1,b:2/db?authSource=x",
                "mongodb://a:1,b:2/db",
            ),
            ("memory:", "memory:"),
            ("pass secret", "the URL given"),
        ] {
            assert_eq!(redact(url), shown);
        }
        let text = "unexpected argument 'redis://:secret@h' found";
        let shown = redact_text(text, "redis://:secret@h");
        assert_eq!(shown, "unexpected argument 'redis://:***@h' found");
        let text = redact_text(
            "unexpected '--to=redis://:secret@h'",
            "--to=redis://:secret@h",
        );
        assert_eq!(text, "unexpected '--to=redis://:***@h'");
        assert!(!redact_text("bad 'pg://secret' x", "pg://secret").is_empty());
    }
}

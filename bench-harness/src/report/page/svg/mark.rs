//! A variant's mark: a colour and a shape, so that neither is needed to see the other.

use maud::{Markup, html};

use crate::subject::Variant;

/// The class that gives a variant its colour.
pub(in super::super) fn class(variant: Variant) -> String {
    format!("v v-{variant}")
}

/// The shape, around the origin.
pub(super) fn shape(variant: Variant) -> &'static str {
    match variant.to_string().as_str() {
        "default" => "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
        "full-snapshot" => "M-5-5h10v10h-10z",
        "langgraph" => "M0-6.5L6.2 5h-12.4z",
        "floor" => "M0-6.5L6.5 0L0 6.5L-6.5 0z",
        "no-op" => "M-5-1.2h10v2.4h-10z",
        "no-chunking" => "M0 6.5L6.2-5h-12.4z",
        "no-lazy-loading" => "M-5-5L0-2L5-5L2 0L5 5L0 2L-5 5L-2 0z",
        "no-cache" => "M-3-6h6l3.5 6l-3.5 6h-6l-3.5-6z",
        "no-compression" => "M-6.5-3h13v6h-13z",
        "no-pooling" => "M-3-6.5h6v13h-6z",
        _ => "M-1.5-5.5h3v4h4v3h-4v4h-3v-4h-4v-3h4z",
    }
}

/// What the marks stand for.
pub(in super::super) fn legend(variants: &[Variant]) -> Markup {
    html! {
        ul.legend {
            @for &variant in variants {
                li class=(class(variant)) {
                    svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true" {
                        path d=(shape(variant)) {}
                    }
                    " " (variant)
                }
            }
        }
    }
}

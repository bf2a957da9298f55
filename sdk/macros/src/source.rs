//! Reads doc comments and types in the annotated code.

/// Returns the text of the doc comments in Markdown: the lines of a paragraph are joined, while
/// paragraphs, list items, headings, tables and code blocks are preserved.
pub(crate) fn documentation(attributes: &[syn::Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let syn::Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value
        {
            lines.extend(
                text.value().split('\n').map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()),
            );
        }
    }
    joined(&lines)
}

/// Joins the lines of each paragraph.
fn joined(lines: &[String]) -> String {
    let mut text = String::new();
    let mut in_code = false;
    // True if the next line continues the paragraph or list item.
    let mut continues = false;
    for line in lines {
        let fence = is_fence(line);
        if in_code || fence {
            begin_line(&mut text);
            text.push_str(line);
            in_code ^= fence;
            continues = false;
        } else if line.trim().is_empty() {
            begin_paragraph(&mut text);
            continues = false;
        } else if begins_block(line) {
            begin_line(&mut text);
            text.push_str(line);
            continues = !line.trim_start().starts_with(['#', '|']);
        } else if continues {
            text.push(' ');
            text.push_str(line.trim());
        } else {
            begin_line(&mut text);
            text.push_str(line.trim_start());
            continues = true;
        }
        // An empty line in a code block.
        if in_code && line.is_empty() {
            text.push('\n');
        }
    }
    text.trim().to_owned()
}

/// Ends the current line, if there is one.
fn begin_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

/// Separates the next paragraph by an empty line.
fn begin_paragraph(text: &mut String) {
    begin_line(text);
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
}

/// Returns whether the line begins or ends a code block.
fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// Returns whether the line is not a continuation of the previous one: a list item, a heading, a
/// quotation or the row of a table.
fn begins_block(line: &str) -> bool {
    let line = line.trim_start();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = (1..=9).contains(&digits) && (line[digits..].starts_with(". ") || line[digits..].starts_with(") "));
    let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
    let heading = (1..=6).contains(&hashes) && line[hashes..].starts_with(' ');
    numbered || heading || ["- ", "* ", "+ ", "> ", "|"].iter().any(|mark| line.starts_with(mark))
}

/// Returns whether a `#[serde(…)]` or `#[schemars(…)]` attribute contains the word.
pub(crate) fn mentions_word(attribute: &syn::Attribute, word: &str) -> bool {
    match &attribute.meta {
        syn::Meta::List(list) if ["serde", "schemars"].iter().any(|name| list.path.is_ident(name)) => {
            list.tokens.clone().into_iter().any(|token| token.to_string() == word)
        }
        _ => false,
    }
}

/// Returns whether the type is `Name`, `path::Name` or `Name<…>`, or contains one, as
/// `Option<Name>` does.
pub(crate) fn mentions(ty: &syn::Type, name: &str) -> bool {
    let syn::Type::Path(path) = ty else { return false };
    path.path.segments.iter().any(|segment| {
        segment.ident == name
            || match &segment.arguments {
                syn::PathArguments::AngleBracketed(arguments) => arguments
                    .args
                    .iter()
                    .any(|argument| matches!(argument, syn::GenericArgument::Type(inner) if mentions(inner, name))),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(item: &str, expected: &str) {
        let item: syn::ItemStruct = syn::parse_str(&format!("{item}\nstruct Item;")).expect("an item");
        assert_eq!(documentation(&item.attrs), expected);
    }

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        check(
            "/// First line,\n/// second line.\n///\n///\n/// Second\n///   paragraph.",
            "First line, second line.\n\nSecond paragraph.",
        );
        check("/** Block comment\n with a break. */", "Block comment with a break.");
        check("#[doc(hidden)]", "");
    }

    #[test]
    fn list_items_begin_lines() {
        check(
            "/// Modes:\n/// - `a`: the first,\n///   continued.\n///   - nested\n/// - `b`\n///\n/// 1. one\n/// 2) two\n/// 3.5 is no item.",
            "Modes:\n- `a`: the first, continued.\n  - nested\n- `b`\n\n1. one\n2) two 3.5 is no item.",
        );
        check(
            "/// # Title\n/// Text\n/// | a | b |\n/// |---|---|\n/// > quoted",
            "# Title\nText\n| a | b |\n|---|---|\n> quoted",
        );
        check("/// #hash and -dash\n/// *emphasis*", "#hash and -dash *emphasis*");
    }

    #[test]
    fn code_blocks_are_unchanged() {
        check(
            "/// Example:\n/// ```sql\n/// SELECT 1\n///   FROM t\n///\n///\n///   - 1\n/// ```\n/// After\n/// it.",
            "Example:\n```sql\nSELECT 1\n  FROM t\n\n\n  - 1\n```\nAfter it.",
        );
    }
}

//! Escaping of text for terminals, logs and prompts. Text from a bundle, a server or a file may
//! contain control characters that move the cursor, marks that reorder letters, and characters
//! without width. Each of them is replaced by an escape sequence such as `\u{202e}`.

/// Escapes text for a single line: control characters, including line breaks and tabs, and
/// invisible characters.
#[must_use]
pub fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// Escapes text with several lines: like [`line()`], but keeps line feeds and tabs. Only for text
/// whose line structure Blockyard itself creates; external values in it are escaped with
/// [`line()`] first.
#[must_use]
pub fn lines(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// Joins the lines of a text, then escapes it like [`line()`]. For descriptions, which may be
/// wrapped.
#[must_use]
pub fn paragraph(text: &str) -> String {
    let parts: Vec<&str> = text.split(['\n', '\r', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    line(&parts.join(" "))
}

/// Escapes the text of a JSON document. Within JSON strings it uses JSON escapes (`\u202e`), so
/// that the document keeps its value. Line feeds between values are kept.
#[must_use]
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    each(text, |c, hidden| {
        if hidden && !matches!(c, '\n' | '\t') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    });
    out
}

fn escape(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    each(text, |c, hidden| {
        if !hidden || keeps(c) {
            out.push(c);
        } else if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.extend(c.escape_unicode());
        }
    });
    out
}

/// Calls `pass` with each character, and with true if the character must be escaped at its
/// position.
fn each(text: &str, mut pass: impl FnMut(char, bool)) {
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let hidden = match c {
            // A zero width joiner between emoji combines them (such as a family); elsewhere it is
            // invisible.
            '\u{200d}' => !(before.is_some_and(is_emoji) && characters.peek().copied().is_some_and(is_emoji)),
            // The presentation selectors (text, emoji) take effect after a symbol that has both
            // forms.
            '\u{fe0e}' | '\u{fe0f}' => !before.is_some_and(is_emoji),
            c => is_hidden(c),
        };
        pass(c, hidden);
        before = Some(c);
    }
}

/// Symbols that emoji consist of, including the presentation selector.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

/// Control characters, format characters (Unicode general categories Cc, Cf, Zl, Zp; Unicode 16),
/// and letters and marks that are displayed as nothing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Cf
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            // Zl and Zp
            | '\u{2028}' | '\u{2029}'
            // Default ignorable code points of other categories: joiners, fillers, variation
            // selectors.
            | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            // Noncharacters, which fonts and terminals handle inconsistently.
            | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_escaped() {
        for (given, shown) in [
            ("\u{1b}[2J", r"\u{1b}[2J"),
            ("a\u{9b}31m", r"a\u{9b}31m"),
            ("a\u{7}\u{7f}", r"a\u{7}\u{7f}"),
            ("pay \u{202e}evil\u{202c}", r"pay \u{202e}evil\u{202c}"),
            ("\u{2066}x\u{2069}\u{61c}", r"\u{2066}x\u{2069}\u{61c}"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("ad\u{ad}min\u{200b}\u{feff}\u{2060}", r"ad\u{ad}min\u{200b}\u{feff}\u{2060}"),
            ("a\u{200d}b", r"a\u{200d}b"),
            ("\u{e0041}\u{e0100}", r"\u{e0041}\u{e0100}"),
            ("\u{3164}\u{34f}", r"\u{3164}\u{34f}"),
            ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
            ("Grüße, 動物園, й, ʹ", "Grüße, 動物園, й, ʹ"),
            ("👩\u{200d}🚒 ❤\u{fe0f}", "👩\u{200d}🚒 ❤\u{fe0f}"),
            ("1\u{fe0f}2\u{200d}3", r"1\u{fe0f}2\u{200d}3"),
        ] {
            assert_eq!(line(given), shown, "{given:?}");
        }
        assert_eq!(lines("a\n\tb\rc\u{85}"), "a\n\tb\\rc\\u{85}");
        assert_eq!(
            paragraph("A description\n    of two lines.\n\nerror: forged"),
            "A description of two lines. error: forged"
        );
    }

    proptest! {
        #[test]
        fn all_hidden_characters_are_escaped(text in any::<String>()) {
            for c in line(&text).chars().filter(|c| !matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')) {
                prop_assert!(!is_hidden(c), "{c:?}");
            }
            let ends = line(&text).contains('\n');
            prop_assert!(!ends);
        }

        #[test]
        fn escaped_json_keeps_its_value(text in any::<String>()) {
            let document = serde_json::json!({ text.clone(): [text, "\u{202e}\u{9b}\u{e0041}"] });
            for shown in [json(&document.to_string()), json(&format!("{document:#}"))] {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), document.clone());
                let raw = shown.contains(['\u{202e}', '\u{9b}', '\u{e0041}']);
                prop_assert!(!raw, "{:?}", shown);
            }
        }
    }
}

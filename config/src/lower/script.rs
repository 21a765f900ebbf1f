//! Commands: `COMMAND [USER [GROUP]]`, where a command with arguments is one quoted word.

use crate::model::Script;
use crate::tree::Item;

use super::Lower;

impl Lower<'_> {
    /// `COMMAND [USER [GROUP]]`; a command with arguments is one quoted word.
    pub(super) fn script(&mut self, item: &Item) -> Option<Script> {
        let word = item.words.first()?;
        let command = split_command(&word.text);
        if command.is_empty() || item.words.len() > 3 {
            let message = format!("{}: wants a command, then perhaps a user and a group", item.keyword.text);
            let help = "put the command with its arguments into quotes: \"/usr/local/bin/moved.sh master\"";
            self.report.error(&item.place(), message, help);
            return None;
        }
        let text = |at: usize| item.words.get(at).map(|word| word.text.to_string());
        Some(Script { command, user: text(1), group: text(2) })
    }

    /// A command whose user is named elsewhere; unquoted words are its arguments.
    pub(super) fn command(&mut self, item: &Item) -> Option<Vec<String>> {
        let (first, rest) = item.words.split_first()?;
        let mut command = split_command(&first.text);
        if command.is_empty() {
            let help = "write the path of a program: \"/usr/bin/pgrep -x nginx\"";
            self.report.error(&item.place(), format!("{}: wants a command", item.keyword.text), help);
            return None;
        }
        command.extend(rest.iter().map(|word| word.text.to_string()));
        Some(command)
    }

    /// `USER [GROUP]`.
    pub(super) fn user(&mut self, item: &Item) -> Option<(String, Option<String>)> {
        let user = self.plain(item, super::value::name)?;
        Some((user, item.words.get(1).map(|word| word.text.to_string())))
    }
}

/// Splits a command at blanks; quotes and backslashes keep blanks together.
fn split_command(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_what_its_quotes_hold_together() {
        assert_eq!(split_command(r#"/bin/x 'a b' "c d" e\ f"#), ["/bin/x", "a b", "c d", "e f"]);
        assert_eq!(split_command("  "), Vec::<String>::new());
        assert_eq!(split_command("''"), [""]);
    }
}

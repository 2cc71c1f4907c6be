//! The overview that `partita` prints without arguments and with `--help`: grouped commands, and
//! examples.

use std::fmt::Write as _;

use clap::Command;

use crate::style::{HEADING, LITERAL, painted};

/// The commands, grouped by purpose.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Inspect",
        &["ls", "info", "schema", "partitions", "history", "report", "read", "sql", "export"],
    ),
    ("Write", &["create", "import", "append", "upsert", "delete", "drop"]),
    ("Versions", &["restore", "expire", "gc"]),
    ("Maintain", &["columns", "optimize", "index", "sync", "verify", "copy", "migrate"]),
    ("Set up", &["doctor", "completions", "man"]),
];

/// First examples: a description and the command.
const EXAMPLES: [(&str, &str); 3] = [
    (
        "create a table from a file, partitioned by city",
        "partita import lake/trips trips.csv --partition-by city",
    ),
    ("read some of its rows", "partita read lake/trips --where \"city == 'Oslo' and fare > 10\""),
    ("list its versions", "partita history lake/trips"),
];

/// Adds this overview to the command line's help.
pub(crate) fn described(command: Command) -> Command {
    let help = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n{}\n{}\n{{options}}\n\n\
         `partita COMMAND --help` explains a command, with examples.",
        groups(&command),
        examples(),
        painted(HEADING, "Options of every command:"),
    );
    command.help_template(help)
}

/// The short overview for a call without arguments.
pub(crate) fn brief(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    format!(
        "{about}\n\n{} partita COMMAND URL …\n\n{}\n{}\n\
         `partita COMMAND --help` explains a command, `partita --help` the options of all.\n",
        painted(HEADING, "Usage:"),
        groups(command),
        examples(),
    )
}

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{}", painted(HEADING, &format!("{title}:")));
        for command in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let name = painted(LITERAL, &format!("{:<12}", command.get_name()));
            let _ = writeln!(text, "  {name} {about}");
        }
    }
    text
}

fn examples() -> String {
    let mut text = format!("{}\n", painted(HEADING, "Examples:"));
    for (what, example) in EXAMPLES {
        let _ = writeln!(text, "  # {what}\n  {}", painted(LITERAL, example));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::arguments::Arguments;

    /// The words of the example lines in a help text, up to the first shell operator.
    fn examples_of(help: &str) -> Vec<Vec<String>> {
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let words = |line: &str| {
            let words = shlex::split(line).unwrap().into_iter();
            words.take_while(|word| !["|", "<", ">"].contains(&word.as_str())).collect()
        };
        let lines = examples.lines().map(str::trim_start);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(words).collect()
    }

    /// All commands and subcommands with their words.
    fn commands(command: &Command, before: &[String]) -> Vec<(Vec<String>, Command)> {
        let mut found = Vec::new();
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let words = [before, &[below.get_name().to_owned()]].concat();
            found.extend(commands(below, &words));
            found.push((words, below.clone()));
        }
        found
    }

    #[test]
    fn every_command_is_in_one_group() {
        let command = Arguments::command();
        let grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let known: BTreeSet<&str> = command.get_subcommands().map(Command::get_name).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), known);
        assert_eq!(grouped.len(), known.len());
    }

    #[test]
    fn the_help_of_every_command_has_examples_that_it_understands() {
        for (words, mut command) in commands(&Arguments::command(), &[]) {
            let help = command.render_long_help().to_string();
            let examples = examples_of(&help);
            let of_this = |example: &Vec<String>| example.get(1..=words.len()) == Some(&words[..]);
            assert!(examples.iter().any(of_this), "{words:?} has no example");
            for example in examples {
                Arguments::try_parse_from(&example).unwrap_or_else(|e| panic!("{example:?}: {e}"));
            }
        }
        for (_, example) in EXAMPLES {
            Arguments::try_parse_from(shlex::split(example).unwrap()).unwrap();
        }
    }
}

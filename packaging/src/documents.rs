//! Manual pages and completions of a program, from its own description of its command line.
//!
//! Each program writes its own (`PROGRAM documents DIR`, not shown in its help), so that no page tells of a flag that the
//! program beside it does not have.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

/// For which shells, with the endings of their files.
const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// A page that a program has besides its own.
#[derive(Debug)]
pub struct Page {
    /// Its file, such as `keepone.conf.5`.
    pub file: &'static str,
    /// In roff.
    pub text: String,
}

/// Does what `PROGRAM documents DIR` asks for; `None` if the command line asks for anything else.
pub fn asked(command: Command, pages: impl FnOnce() -> Vec<Page>) -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let directory = match arguments.as_slice() {
        [word, directory] if word == "documents" => Path::new(directory),
        _ => return None,
    };
    Some(match write(command, pages(), directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} can't be written to: {error}", directory.display());
            ExitCode::FAILURE
        }
    })
}

/// Writes `NAME.8`, further pages, and `NAME.bash` and its kin.
///
/// # Errors
/// The directory can't be made or written to.
pub fn write(command: Command, pages: Vec<Page>, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let name = command.get_name().to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(visible(command.clone())).section("8").manual("keepone").date("").render(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        page.extend(section(&name, subcommand)?);
    }
    fs::write(directory.join(format!("{name}.8")), page)?;
    for Page { file, text } in pages {
        fs::write(directory.join(file), text)?;
    }
    for (shell, ending) in SHELLS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut visible(command.clone()), &name, &mut script);
        fs::write(directory.join(format!("{name}.{ending}")), script)?;
    }
    Ok(())
}

/// Without the commands that are for the program itself.
fn visible(command: Command) -> Command {
    let shown: Vec<Command> = command.get_subcommands().filter(|inner| !inner.is_hide_set()).cloned().collect();
    // clap keeps names for the program's life, of which little is left.
    let name: &'static str = Box::leak(command.get_name().to_owned().into_boxed_str());
    let mut bare = Command::new(name);
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    if let Some(after) = command.get_after_help() {
        bare = bare.after_help(after.clone());
    }
    bare.version(env!("CARGO_PKG_VERSION")).args(command.get_arguments().cloned()).subcommands(shown)
}

/// One command with its flags, as a part of the program's page.
fn section(program: &str, command: &Command) -> io::Result<Vec<u8>> {
    let mut text = format!(".SH \"{} {}\"\n", program.to_uppercase(), command.get_name().to_uppercase()).into_bytes();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    text.extend(escape(&about).into_bytes());
    text.push(b'\n');
    let named = command.clone().bin_name(format!("{program} {}", command.get_name()));
    clap_mangen::Man::new(named.clone()).render_synopsis_section(&mut text)?;
    if named.get_arguments().any(|argument| !argument.is_hide_set()) {
        clap_mangen::Man::new(named).render_options_section(&mut text)?;
    }
    // They are parts of a section here.
    let text = String::from_utf8_lossy(&text).replace(".SH SYNOPSIS", ".PP").replace(".SH OPTIONS", ".PP");
    Ok(text.into_bytes())
}

/// As text in roff: no line of it is a request, no hyphen a dash.
pub fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines =
        text.lines().map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn a_page_has_what_the_program_shows_and_nothing_else() {
        let command = Command::new("prog").about("Does -x").subcommands([
            Command::new("go").about("Goes far").arg(Arg::new("fast").long("fast").help("Without a pause")),
            Command::new("inner").about("Secret").hide(true),
        ]);
        let directory = tempfile::tempdir().unwrap();
        let more = Page { file: "prog.conf.5", text: ".TH x 5\n".into() };
        write(command, vec![more], directory.path()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let page = read("prog.8");
        assert!(page.contains("PROG GO") && page.contains("\\-\\-fast") && page.contains("Without a pause"), "{page}");
        assert!(!page.contains("Secret"), "{page}");
        for ending in ["bash", "zsh", "fish"] {
            let script = read(&format!("prog.{ending}"));
            assert!(script.contains("fast") && !script.contains("Secret"), "{ending}: {script}");
        }
        assert_eq!(read("prog.conf.5"), ".TH x 5\n");
    }

    #[test]
    fn no_line_of_a_text_is_a_request() {
        assert_eq!(escape(".so /etc/passwd\n'x\na-b\\c"), "\\&.so /etc/passwd\n\\&'x\na\\-b\\ec");
    }
}

//! The options that set what the library speaks of.
//!
//! The library names the fields of its requests: "allow the size with `request.max_size`". An option is called like its field
//! (--max-size), or stands in [`OTHER`]; where mkimage has a letter for it, that is named.

use std::borrow::Cow;

/// Fields whose options have other names.
const OTHER: &[(&str, &str)] = &[
    ("dictionary", "--dict-size"),
    ("remove", "--remove-section"),
    ("debug_only", "--strip-debug"),
    ("dtbs", "--append-dtb"),
    ("initrds", "--initrd"),
    ("linker", "--ld"),
    ("environment", "--uboot-env"),
    ("efi", "--no-efi"),
    ("firmware", "--efi"),
    ("load", "-a"),
    ("entry", "-e"),
    ("is_64", "--class"),
    ("arch", "-A"),
    ("os", "-O"),
    ("kind", "-T"),
    ("comp", "-C"),
    ("name", "-n"),
    ("xip", "-x"),
    ("external", "-E"),
    ("cmdline_overrides", "--cmdline-override"),
    ("position", "-p"),
];

const LEAD: &str = "`request.";

/// `text` with options in place of the fields that it names.
pub(crate) fn named(text: &str) -> Cow<'_, str> {
    if !text.contains(LEAD) {
        return text.into();
    }
    let mut parts = text.split(LEAD);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let option = part.split_once('`').map(|(field, rest)| {
            let other = OTHER.iter().find(|(name, _)| *name == field).map(|(_, option)| (*option).to_owned());
            let option = other.unwrap_or_else(|| format!("--{}", field.replace('_', "-")));
            (option, rest)
        });
        match option {
            Some((option, rest)) => out.extend([&*option, rest]),
            None => out.extend([LEAD, part]),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;
    use std::fs;
    use std::path::Path;

    #[test]
    fn fields_become_options() {
        assert_eq!(named("lower `request.pad_to`, or `request.max_size`"), "lower --pad-to, or --max-size");
        assert_eq!(named("(`request.remove` .data) `x`"), "(--remove-section .data) `x`");
        assert_eq!(named("change `request.load`"), "change -a");
        for text in ["plain", "`request.level", "a `request` b"] {
            assert_eq!(named(text), text);
        }
    }

    /// Whatever field a message of the library names, there is an option for it.
    #[test]
    fn every_field_that_the_library_names_has_its_option() {
        fn check(folder: &Path, options: &[String], seen: &mut usize) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    if !path.ends_with("bin") && !path.ends_with("bootstub") {
                        check(&path, options, seen);
                    }
                } else if let Ok(text) = fs::read_to_string(&path) {
                    for part in text.split(LEAD).skip(1) {
                        let field = part.split('`').next().unwrap();
                        let text = format!("{LEAD}{field}`");
                        assert!(options.contains(&named(&text).into_owned()), "{}: {field}", path.display());
                        *seen += 1;
                    }
                }
            }
        }
        let mut seen = 0;
        let command = Cli::command();
        let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
        let names = arguments.map(|one| (one.get_long(), one.get_short()));
        let options: Vec<String> = names
            .flat_map(|(long, short)| [long.map(|long| format!("--{long}")), short.map(|short| format!("-{short}"))])
            .flatten()
            .collect();
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &options, &mut seen);
        assert!(seen > 20, "{seen}");
    }
}

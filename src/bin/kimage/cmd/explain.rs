//! `explain`: the rules that findings are about.

use crate::args::Explain;
use crate::screen;
use anyhow::{Result, bail};
use kimage::report::{rules, write_rule_text, write_rules_json, write_rules_list};

pub(crate) fn explain(args: &Explain) -> Result<()> {
    let mut chosen = Vec::new();
    for wanted in &args.rules {
        let is_wanted = |id: &str| id == wanted || id.split('.').next() == Some(wanted);
        let before = chosen.len();
        chosen.extend(rules().filter(|rule| is_wanted(rule.id)));
        if chosen.len() == before {
            bail!("{wanted}: there is no such rule; `kimage explain` lists all");
        }
    }
    if args.rules.is_empty() {
        chosen = rules().collect();
        chosen.sort_by_key(|rule| rule.id);
    }
    screen::print(|out| match (args.json, args.rules.is_empty()) {
        (true, _) => write_rules_json(&chosen, out),
        (false, true) => write_rules_list(&chosen, out),
        (false, false) => chosen.iter().try_for_each(|rule| write_rule_text(rule, screen::style(), &mut *out)),
    })
}

//! What holds the source itself together.

mod bootstub; // the boot stubs that are committed are what their source makes
mod circles; // no file of the sources names itself by way of others
mod layers; // no module of the library uses a later one; every test file is part of a test binary
mod owners; // a fact of a format on disk is spelt by its owner only
mod public; // the public surface does not grow
mod rules; // the registry of rules: unique ids, no finding beside it
mod untested; // no test passes without having tested, or it says so

#[path = "../support/mod.rs"]
mod support;

//! What a package has beside the programs: their manual pages and completions, made from the same description of the command
//! line that they parse by; the licences of what they are built from; the bill of materials.

pub mod documents;
pub mod materials;

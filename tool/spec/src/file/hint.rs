//! Finding what a misspelt word should have been.

/// Finds the word that was probably meant.
pub fn closest<'a>(found: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = words.map(|word| (strsim::damerau_levenshtein(found, word), word));
    let (distance, word) = scored.min()?;
    // Two slips in a short word are another word already.
    (distance <= found.chars().count().div_ceil(3)).then(|| format!("did you mean `{word}`?"))
}

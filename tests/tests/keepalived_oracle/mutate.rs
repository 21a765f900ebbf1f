//! One small mistake, or two, of the kinds that hands and editors make.

/// Splitmix64: the same mistakes for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// The text with one mistake, sometimes two.
pub fn mutate(text: &str, seed: u64) -> String {
    let mut numbers = Numbers(seed);
    let mut text = one(text, &mut numbers);
    if numbers.below(4) == 0 {
        text = one(&text, &mut numbers);
    }
    text
}

fn one(text: &str, numbers: &mut Numbers) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.len() < 2 {
        return text.to_owned();
    }
    let at = numbers.below(lines.len());
    match numbers.below(12) {
        0 => return without(text, ['{', '}'], numbers),
        1 => drop(lines.remove(at)),
        2 => {
            let other = numbers.below(lines.len());
            lines.swap(at, other);
        }
        3 => {
            let line = lines[at].clone();
            lines.insert(at, line);
        }
        4 | 5 => lines[at] = misspelt(&lines[at], numbers),
        6 | 7 => lines[at] = renumbered(&lines[at], numbers),
        8 => return text.chars().take(numbers.below(text.chars().count())).collect(),
        9 => {
            let more = ["}", "{", "\"", "unknown_word 1", "$A", "@n2 x", "~SEQ(", "state"][numbers.below(8)];
            lines.insert(at, more.to_owned());
        }
        10 if at + 1 < lines.len() => {
            let next = lines.remove(at + 1);
            lines[at] = format!("{} {}", lines[at], next.trim());
        }
        _ => lines[at] = without_a_word(&lines[at], numbers),
    }
    lines.join("\n") + "\n"
}

fn without(text: &str, any: [char; 2], numbers: &mut Numbers) -> String {
    let found: Vec<usize> = text.match_indices(any).map(|(at, _)| at).collect();
    let Some(&at) = found.get(numbers.below(found.len())) else { return text.to_owned() };
    format!("{}{}", &text[..at], &text[at + 1..])
}

fn misspelt(line: &str, numbers: &mut Numbers) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let letters: Vec<usize> = (0..chars.len()).filter(|at| chars[*at].is_ascii_alphanumeric()).collect();
    let Some(&at) = letters.get(numbers.below(letters.len())) else { return line.to_owned() };
    match numbers.below(3) {
        0 => drop(chars.remove(at)),
        1 if at + 1 < chars.len() => chars.swap(at, at + 1),
        _ => chars[at] = ['x', 'q', '7', '_', '"', '-'][numbers.below(6)],
    }
    chars.into_iter().collect()
}

fn renumbered(line: &str, numbers: &mut Numbers) -> String {
    let digits: Vec<usize> = line.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let Some(&at) = digits.get(numbers.below(digits.len())) else { return line.to_owned() };
    let number = ["0", "1", "-1", "255", "256", "65536", "99999999999", "1.5", "0x10", "ten"][numbers.below(10)];
    let end = line[at..].find(|c: char| !c.is_ascii_digit()).map_or(line.len(), |len| at + len);
    format!("{}{number}{}", &line[..at], &line[end..])
}

fn without_a_word(line: &str, numbers: &mut Numbers) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.is_empty() {
        return line.to_owned();
    }
    words.remove(numbers.below(words.len()));
    words.join(" ")
}

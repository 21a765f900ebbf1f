//! Statements with the comments that belong to them.
//!
//! What must stay true: no comment is lost, and none is bound twice. One whose statement is gone (a definition, an
//! include, a condition that does not hold) stands above the next one.

use crate::source::{Place, Sources};
use crate::tree::Item;

use super::Language;
use super::comment::{Marks, marks};

/// A statement and its comments.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub item: &'t Item,
    /// On the lines before it.
    pub above: Vec<String>,
    /// On its own line; of a block, behind the opening brace.
    pub behind: Option<String>,
    /// Of its block; empty without one.
    pub inner: Tree<'t>,
}

/// The statements of a file or a block.
#[derive(Debug, Default)]
pub(super) struct Tree<'t> {
    pub nodes: Vec<Node<'t>>,
    /// Behind the last statement.
    pub end: Vec<String>,
}

/// Binds the comments of all texts to the statements.
pub(super) fn annotate<'t>(items: &'t [Item], sources: &Sources, language: Language) -> Tree<'t> {
    let texts = super::texts(sources);
    let texts = texts.into_iter().map(|text| Text { text, marks: marks(text, language), next: 0 });
    let mut binding = Binding { texts: texts.collect(), sources, language };
    let mut tree = binding.tree(items);
    for text in &mut binding.texts {
        text.take_before(usize::MAX, &mut tree.end);
    }
    tree
}

struct Binding<'s> {
    texts: Vec<Text<'s>>,
    sources: &'s Sources,
    language: Language,
}

struct Text<'s> {
    text: &'s str,
    marks: Marks,
    /// The first comment that is not bound yet.
    next: usize,
}

impl Text<'_> {
    /// The comments that begin before a byte.
    fn take_before(&mut self, end: usize, into: &mut Vec<String>) {
        while let Some(comment) = self.marks.comments.get(self.next).filter(|comment| comment.span.start < end) {
            into.push(comment.text.clone());
            self.next += 1;
        }
    }

    /// The next comment if nothing but blanks, and perhaps an opening brace, lies between it and a byte before it.
    fn take_behind(&mut self, from: usize, signs: &[char]) -> Option<String> {
        let comment = self.marks.comments.get(self.next)?;
        let between = self.text.get(from..comment.span.start)?;
        if !between.chars().all(|c| c == ' ' || c == '\t' || signs.contains(&c)) {
            return None;
        }
        self.next += 1;
        Some(comment.text.clone())
    }

    /// The next comment if it stands on the line of a byte: behind the header of a table.
    fn take_on_line(&mut self, from: usize) -> Option<String> {
        let comment = self.marks.comments.get(self.next)?;
        if self.text.get(from..comment.span.start)?.contains('\n') {
            return None;
        }
        self.next += 1;
        Some(comment.text.clone())
    }

    /// Where the block ends that opens at or behind a byte.
    fn block_end(&self, from: usize) -> Option<usize> {
        let at = self.marks.blocks.partition_point(|(open, _)| *open < from);
        self.marks.blocks.get(at).map(|(_, close)| *close)
    }
}

impl Binding<'_> {
    fn tree<'t>(&mut self, items: &'t [Item]) -> Tree<'t> {
        Tree { nodes: items.iter().map(|item| self.node(item)).collect(), end: Vec::new() }
    }

    fn node<'t>(&mut self, item: &'t Item) -> Node<'t> {
        let mut node = Node { item, above: Vec::new(), behind: None, inner: Tree::default() };
        let spot = match item.place() {
            Place::Text { file, start, end } => self.sources.source(file).map(|source| (source, start, end)),
            Place::Variable(_) => None,
        };
        let is_conf = self.language == Language::Conf;
        if let Some((file, start, end)) = spot
            && let Some(text) = self.texts.get_mut(file)
        {
            text.take_before(start, &mut node.above);
            node.behind = match (is_conf, &item.block) {
                (true, _) => text.take_behind(end, &['{']),
                // What a value or an element of an array ends with.
                (false, None) => text.take_behind(end, &[']', ',']),
                (false, Some(_)) => text.take_on_line(start),
            };
        }
        if let Some(block) = &item.block {
            node.inner = self.tree(block);
            if let (true, Some((file, _, end))) = (is_conf, spot)
                && let Some(text) = self.texts.get_mut(file)
                && let Some(close) = text.block_end(end)
            {
                text.take_before(close, &mut node.inner.end);
            }
        }
        node
    }
}

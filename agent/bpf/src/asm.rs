//! The assembler: instructions as data, jumps by label.
//!
//! Instruction encoding after RFC 9669 (BPF Instruction Set Architecture). What must stay true:
//! a program with an unbound label or a jump that is too far is refused here, never truncated.

use crate::map::Map;

/// A register. R0: return value; R1 to R5: arguments, lost in calls; R6 to R9: kept; R10: frame pointer, read only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the registers are explained as a whole")]
pub enum Reg {
    R0 = 0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte,
    /// Two bytes.
    Half,
    /// Four bytes.
    Word,
    /// Eight bytes.
    Double,
}

impl Size {
    fn bits(self) -> u8 {
        match self {
            Size::Word => 0x00,
            Size::Half => 0x08,
            Size::Byte => 0x10,
            Size::Double => 0x18,
        }
    }
}

/// Arithmetic, on all 64 bits of the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Alu {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Mod = 0x90,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// Condition of a jump; unsigned unless the name begins with `S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Cond {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    /// Any bit in common.
    Set = 0x40,
    Ne = 0x50,
    SGt = 0x60,
    SGe = 0x70,
    Lt = 0xa0,
    Le = 0xb0,
    SLt = 0xc0,
    SLe = 0xd0,
}

/// The second operand: a register, or 32 bits that are sign-extended to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// The value in a register.
    Reg(Reg),
    /// A constant.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Operand::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Operand::Imm(imm)
    }
}

/// One instruction of eight bytes, `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    pub(crate) code: u8,
    regs: u8,
    off: i16,
    pub(crate) imm: i32,
}

impl Insn {
    /// As the kernel reads it: code, registers, offset and immediate, native byte order.
    pub fn bytes(self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.off.to_ne_bytes(), self.imm.to_ne_bytes());
        [self.code, self.regs, a, b, c, d, e, f]
    }

    /// The descriptor of the map that it loads, which differs between processes for the same program.
    pub fn map_fd(self) -> Option<i32> {
        let source = if cfg!(target_endian = "little") { self.regs >> 4 } else { self.regs & 0x0f };
        (self.code == LD_IMM64 && source == PSEUDO_MAP_FD).then_some(self.imm)
    }
}

/// A place to jump to, of the [`Asm`] that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// Why instructions don't make a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    /// A jump to nowhere.
    #[error("label {0} is jumped to but bound nowhere: call bind() once for every label")]
    Unbound(usize),
    /// `bind` was called twice.
    #[error("label {0} is bound twice: a label is one place")]
    BoundTwice(usize),
    /// A jump over more than 32767 instructions.
    #[error("a jump over {0} instructions does not fit the 16 bits of its offset: split the program")]
    TooFar(i64),
}

const LD_IMM64: u8 = 0x18;
const LDX_MEM: u8 = 0x61;
const ST_MEM: u8 = 0x62;
const STX_MEM: u8 = 0x63;
const ALU64: u8 = 0x07;
const ALU32: u8 = 0x04;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const SOURCE_REG: u8 = 0x08;
const JA: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const END_TO_BE: u8 = 0xdc;
const PSEUDO_MAP_FD: u8 = 1;

/// A program in the making.
#[derive(Debug, Clone, Default)]
pub struct Asm {
    insns: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
    twice: Option<Label>,
}

impl Asm {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many instructions there are (a 64-bit constant counts as two).
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.insns.is_empty()
    }

    /// A new label, bound nowhere yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label means the next instruction.
    pub fn bind(&mut self, label: Label) -> &mut Self {
        let here = self.insns.len();
        match self.labels.get_mut(label.0) {
            Some(place @ None) => *place = Some(here),
            Some(Some(_)) => self.twice = Some(label),
            // A label of another program: assemble() finds it unbound if anything jumps to it.
            None => {}
        }
        self
    }

    fn push(&mut self, code: u8, dst: Reg, src: u8, off: i16, imm: i32) -> &mut Self {
        // The two nibbles are a bit field in C: their order follows the machine's byte order.
        let (dst, src) = (dst as u8, src & 0x0f);
        let regs = if cfg!(target_endian = "little") { dst | (src << 4) } else { (dst << 4) | src };
        self.insns.push(Insn { code, regs, off, imm });
        self
    }

    fn push_operand(&mut self, code: u8, dst: Reg, operand: Operand) -> &mut Self {
        match operand {
            Operand::Reg(src) => self.push(code | SOURCE_REG, dst, src as u8, 0, 0),
            Operand::Imm(imm) => self.push(code, dst, 0, 0, imm),
        }
    }

    /// `dst = dst OP operand`, 64 bits.
    pub fn alu(&mut self, op: Alu, dst: Reg, operand: impl Into<Operand>) -> &mut Self {
        self.push_operand(ALU64 | op as u8, dst, operand.into())
    }

    /// `dst = dst OP operand` on the low 32 bits; the high ones become zero.
    pub fn alu32(&mut self, op: Alu, dst: Reg, operand: impl Into<Operand>) -> &mut Self {
        self.push_operand(ALU32 | op as u8, dst, operand.into())
    }

    /// `dst = operand`; a constant is sign-extended.
    pub fn mov(&mut self, dst: Reg, operand: impl Into<Operand>) -> &mut Self {
        self.alu(Alu::Mov, dst, operand)
    }

    /// `dst = dst + operand`.
    pub fn add(&mut self, dst: Reg, operand: impl Into<Operand>) -> &mut Self {
        self.alu(Alu::Add, dst, operand)
    }

    /// `dst = imm`, all 64 bits. Two instructions.
    pub fn mov64(&mut self, dst: Reg, imm: u64) -> &mut Self {
        self.wide(dst, 0, imm)
    }

    /// `dst =` the map's address, for the helpers that want one. Two instructions.
    ///
    /// The map must be alive when the program is loaded; the program then keeps it.
    pub fn map(&mut self, dst: Reg, map: &Map) -> &mut Self {
        self.wide(dst, PSEUDO_MAP_FD, u64::from(map.raw_fd().cast_unsigned()))
    }

    fn wide(&mut self, dst: Reg, src: u8, imm: u64) -> &mut Self {
        let (low, high) = (imm as u32, (imm >> 32) as u32);
        self.push(LD_IMM64, dst, src, 0, low.cast_signed());
        self.push(0, Reg::R0, 0, 0, high.cast_signed())
    }

    /// Swaps the low 16, 32 or 64 bits between host and network byte order.
    pub fn to_be(&mut self, dst: Reg, bits: i32) -> &mut Self {
        self.push(END_TO_BE, dst, 0, 0, bits)
    }

    /// `dst = *(src + off)`.
    pub fn load(&mut self, size: Size, dst: Reg, src: Reg, off: i16) -> &mut Self {
        self.push(LDX_MEM | size.bits(), dst, src as u8, off, 0)
    }

    /// `*(dst + off) = operand`.
    pub fn store(&mut self, size: Size, dst: Reg, off: i16, operand: impl Into<Operand>) -> &mut Self {
        match operand.into() {
            Operand::Reg(src) => self.push(STX_MEM | size.bits(), dst, src as u8, off, 0),
            Operand::Imm(imm) => self.push(ST_MEM | size.bits(), dst, 0, off, imm),
        }
    }

    /// Jumps if `dst COND operand`, 64 bits.
    pub fn jump_if(&mut self, cond: Cond, dst: Reg, operand: impl Into<Operand>, to: Label) -> &mut Self {
        self.jumps.push((self.insns.len(), to));
        self.push_operand(JMP | cond as u8, dst, operand.into())
    }

    /// Jumps if `dst COND operand`, looking at the low 32 bits.
    pub fn jump_if32(&mut self, cond: Cond, dst: Reg, operand: impl Into<Operand>, to: Label) -> &mut Self {
        self.jumps.push((self.insns.len(), to));
        self.push_operand(JMP32 | cond as u8, dst, operand.into())
    }

    /// Jumps.
    pub fn jump(&mut self, to: Label) -> &mut Self {
        self.jumps.push((self.insns.len(), to));
        self.push(JA, Reg::R0, 0, 0, 0)
    }

    /// Calls a helper (see [`crate::helper`]): arguments in R1 to R5, which are lost; result in R0.
    pub fn call(&mut self, helper: i32) -> &mut Self {
        self.push(CALL, Reg::R0, 0, 0, helper)
    }

    /// Ends the program; R0 is the verdict.
    pub fn exit(&mut self) -> &mut Self {
        self.push(EXIT, Reg::R0, 0, 0, 0)
    }

    /// The instructions with every jump resolved.
    ///
    /// # Errors
    /// A label that is unbound or bound twice, a jump that is too far.
    pub fn assemble(&self) -> Result<Vec<Insn>, AsmError> {
        if let Some(label) = self.twice {
            return Err(AsmError::BoundTwice(label.0));
        }
        let mut insns = self.insns.clone();
        for &(at, label) in &self.jumps {
            let Some(target) = self.labels.get(label.0).copied().flatten() else {
                return Err(AsmError::Unbound(label.0));
            };
            // Counted from the instruction after the jump.
            let distance = target as i64 - at as i64 - 1;
            let off = i16::try_from(distance).map_err(|_| AsmError::TooFar(distance))?;
            if let Some(insn) = insns.get_mut(at) {
                insn.off = off;
            }
        }
        Ok(insns)
    }
}

//! Numbers and expressions in cells: 64 bits, the operators of C.

use super::Error;
use super::parse::Parser;

/// Parentheses and signs in one another.
const MAX_DEPTH: usize = 64;

/// The operators of two operands, those that bind most loosely first.
const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Parser<'_> {
    /// A number, a character, or an expression in parentheses.
    pub(super) fn number(&mut self) -> Result<u64, Error> {
        self.primary(0)
    }

    fn primary(&mut self, depth: usize) -> Result<u64, Error> {
        if self.scan.skip("(")? {
            let value = self.ternary(depth + 1)?;
            self.scan.expect(")")?;
            return Ok(value);
        }
        match self.scan.peek() {
            Some(b'\'') => self.scan.character(),
            Some(b'0'..=b'9') => self.literal(),
            _ => Err(self.scan.wanted("a number or an expression in parentheses")),
        }
    }

    /// A number without expression: it ends where no further digit or suffix follows.
    pub(super) fn literal(&mut self) -> Result<u64, Error> {
        let place = self.scan.place();
        let hex = ["0x", "0X"].iter().any(|start| self.scan.looking_at(start))
            && self.scan.peek_at(2).is_some_and(|byte| byte.is_ascii_hexdigit());
        let (word, value) = if hex {
            self.scan.next();
            self.scan.next();
            let digits = self.scan.run(|byte| byte.is_ascii_hexdigit());
            (format!("0x{digits}"), u64::from_str_radix(&digits, 16))
        } else {
            let digits = self.scan.run(|byte| byte.is_ascii_digit());
            let radix = if digits.len() > 1 && digits.starts_with('0') { 8 } else { 10 };
            let value = u64::from_str_radix(&digits, radix);
            (digits, value)
        };
        if let Some(end) = ["ULL", "UL", "LL", "L", "U"].into_iter().find(|end| self.scan.looking_at(end)) {
            self.scan.expect(end)?;
        }
        value.map_err(|_| {
            let help = "numbers are decimal, hexadecimal behind 0x or octal behind 0, and fit 64 bits";
            self.scan.error(place, format!("{word:?} is no number"), help)
        })
    }

    fn ternary(&mut self, depth: usize) -> Result<u64, Error> {
        if depth > MAX_DEPTH {
            return Err(self.scan.error_here("the expression is too deep", "make it simpler"));
        }
        let condition = self.binary(0, depth)?;
        if !self.scan.skip("?")? {
            return Ok(condition);
        }
        let yes = self.ternary(depth + 1)?;
        self.scan.expect(":")?;
        let no = self.ternary(depth + 1)?;
        Ok(if condition != 0 { yes } else { no })
    }

    fn binary(&mut self, level: usize, depth: usize) -> Result<u64, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.unary(depth) };
        let mut left = self.binary(level + 1, depth)?;
        loop {
            self.scan.space()?;
            let place = self.scan.place();
            let Some(operator) = operators.iter().find(|operator| self.is_operator(operator)) else { return Ok(left) };
            self.scan.expect(operator)?;
            let right = self.binary(level + 1, depth)?;
            left = apply(operator, left, right)
                .ok_or_else(|| self.scan.error(place, "division by zero", "change the divisor"))?;
        }
    }

    /// `|` is not the start of `||`, and so on.
    fn is_operator(&self, operator: &str) -> bool {
        let longer = ["||", "&&", "<<", ">>", "<=", ">=", "==", "!="];
        self.scan.looking_at(operator)
            && (operator.len() == 2 || !longer.iter().any(|two| self.scan.looking_at(two) && two.starts_with(operator)))
    }

    fn unary(&mut self, depth: usize) -> Result<u64, Error> {
        self.scan.space()?;
        if depth > MAX_DEPTH {
            return Err(self.scan.error_here("the expression is too deep", "make it simpler"));
        }
        if self.scan.skip("-")? {
            return Ok(self.unary(depth + 1)?.wrapping_neg());
        }
        if self.scan.skip("~")? {
            return Ok(!self.unary(depth + 1)?);
        }
        if self.scan.skip("!")? {
            return Ok(u64::from(self.unary(depth + 1)? == 0));
        }
        self.primary(depth)
    }
}

/// C's arithmetic on `uint64_t`; `None` for a division by zero.
fn apply(operator: &str, left: u64, right: u64) -> Option<u64> {
    let shift = u32::try_from(right).unwrap_or(u32::MAX);
    Some(match operator {
        "||" => u64::from(left != 0 || right != 0),
        "&&" => u64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => u64::from(left == right),
        "!=" => u64::from(left != right),
        "<" => u64::from(left < right),
        ">" => u64::from(left > right),
        "<=" => u64::from(left <= right),
        ">=" => u64::from(left >= right),
        "<<" => left.checked_shl(shift).unwrap_or(0),
        ">>" => left.checked_shr(shift).unwrap_or(0),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        _ => left.checked_rem(right)?,
    })
}

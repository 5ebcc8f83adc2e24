//! core: a calculation over the points of a device: what is written, what it uses, what comes out.

use std::fmt;

/// How deep brackets and signs may stand in each other.
const DEPTH_MAX: usize = 32;

/// A calculation over parts that are known by their index.
#[derive(Debug, Clone, PartialEq)]
pub enum Formula {
    /// A number as written.
    Number(f64),
    /// The value of a part.
    Part(usize),
    /// The opposite.
    Negative(Box<Formula>),
    /// Two sides.
    Binary(Operator, Box<Formula>, Box<Formula>),
    /// A function of one or several.
    Call(Function, Vec<Formula>),
}

/// What joins two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`, with the sign of the left side.
    Remainder,
    /// `^`
    Power,
}

/// A function by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// The distance from 0.
    Abs,
    /// The square root.
    Sqrt,
    /// The nearest whole number, halves away from 0.
    Round,
    /// The next whole number below.
    Floor,
    /// The next whole number above.
    Ceil,
    /// The least of all.
    Min,
    /// The greatest of all.
    Max,
    /// The second times ten to the power of the first.
    ScaleBy,
}

const FUNCTIONS: [(&str, Function); 7] = [
    ("abs", Function::Abs),
    ("sqrt", Function::Sqrt),
    ("round", Function::Round),
    ("floor", Function::Floor),
    ("ceil", Function::Ceil),
    ("min", Function::Min),
    ("max", Function::Max),
];

/// What is wrong with a calculation as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormulaError {
    /// A part that is not known.
    #[error("there is no point `{name}` here")]
    UnknownPart {
        /// The name as written.
        name: String,
    },
    /// A function that is not known.
    #[error("there is no function `{name}`")]
    UnknownFunction {
        /// The name as written.
        name: String,
    },
    /// Something stands where it cannot.
    #[error("{found} stands where {wanted} is expected")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What could.
        wanted: &'static str,
    },
    /// A function of so many that it has no use for.
    #[error("`{name}` takes one number")]
    Arguments {
        /// The function.
        name: String,
    },
    /// Too many brackets in each other.
    #[error("brackets and signs stand in each other more than {DEPTH_MAX} deep")]
    TooDeep,
}

impl Formula {
    /// Reads a calculation: numbers, names of points (letters, digits, `_`; any other between backticks), `+ - * / % ^`,
    /// brackets and functions. `^` binds closest and from the right, then a sign, then `* / %`, then `+ -`.
    ///
    /// # Errors
    /// [`FormulaError`] with the first thing that is wrong.
    pub fn parse(
        text: &str,
        part: &mut dyn FnMut(&str) -> Option<Formula>,
    ) -> Result<Self, FormulaError> {
        let mut parser = Parser { rest: text, part };
        let formula = parser.sum(0)?;
        match parser.next()? {
            Token::End => Ok(formula),
            other @ (Token::Number(_) | Token::Name(_) | Token::Sign(_)) => {
                Err(unexpected(&other, "an operator such as `+`"))
            }
        }
    }

    /// What comes out when `value` gives the parts; `None` when a part has no number. What leaves the range of numbers is
    /// infinite or NaN.
    #[must_use]
    pub fn evaluate(&self, value: &dyn Fn(usize) -> Option<f64>) -> Option<f64> {
        Some(match self {
            Self::Number(number) => *number,
            Self::Part(index) => value(*index)?,
            Self::Negative(of) => -of.evaluate(value)?,
            Self::Binary(operator, left, right) => {
                let (left, right) = (left.evaluate(value)?, right.evaluate(value)?);
                match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                    Operator::Remainder => left % right,
                    Operator::Power => left.powf(right),
                }
            }
            Self::Call(function, arguments) => {
                let first = arguments.first()?.evaluate(value)?;
                let others = arguments.iter().skip(1);
                let fold = |join: fn(f64, f64) -> f64| {
                    let mut others = others;
                    others.try_fold(first, |so_far, next| Some(join(so_far, next.evaluate(value)?)))
                };
                match function {
                    Function::Abs => first.abs(),
                    Function::Sqrt => first.sqrt(),
                    Function::Round => first.round(),
                    Function::Floor => first.floor(),
                    Function::Ceil => first.ceil(),
                    Function::Min => fold(f64::min)?,
                    Function::Max => fold(f64::max)?,
                    Function::ScaleBy => fold(scaled)?,
                }
            }
        })
    }

    /// Calls `found` with each part it uses, as often as it does.
    pub fn parts(&self, found: &mut dyn FnMut(usize)) {
        match self {
            Self::Number(_) => {}
            Self::Part(index) => found(*index),
            Self::Negative(of) => of.parts(found),
            Self::Binary(_, left, right) => {
                left.parts(found);
                right.parts(found);
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|it| it.parts(found)),
        }
    }

    /// How many numbers, parts and operators it is made of.
    #[must_use]
    pub fn size(&self) -> usize {
        1 + match self {
            Self::Number(_) | Self::Part(_) => 0,
            Self::Negative(of) => of.size(),
            Self::Binary(_, left, right) => left.size() + right.size(),
            Self::Call(_, arguments) => arguments.iter().map(Self::size).sum(),
        }
    }
}

/// `exponent` and `number`: dividing by a power of ten is exact where multiplying by its inverse is not.
fn scaled(exponent: f64, number: f64) -> f64 {
    let power = 10f64.powf(exponent.abs());
    if exponent < 0.0 { number / power } else { number * power }
}

#[derive(Debug, Clone, PartialEq)]
enum Token<'t> {
    Number(f64),
    Name(&'t str),
    Sign(char),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "`{number}`"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

fn unexpected(found: &Token<'_>, wanted: &'static str) -> FormulaError {
    FormulaError::Unexpected { found: found.to_string(), wanted }
}

const OPERAND: &str = "a number or a point";

struct Parser<'t, 'p> {
    rest: &'t str,
    part: &'p mut dyn FnMut(&str) -> Option<Formula>,
}

impl<'t> Parser<'t, '_> {
    fn sum(&mut self, depth: usize) -> Result<Formula, FormulaError> {
        let mut left = self.product(depth)?;
        while let Some(sign) = self.accept(&['+', '-']) {
            let operator = if sign == '+' { Operator::Add } else { Operator::Subtract };
            left = binary(operator, left, self.product(depth)?);
        }
        Ok(left)
    }

    fn product(&mut self, depth: usize) -> Result<Formula, FormulaError> {
        let mut left = self.signed(depth)?;
        while let Some(sign) = self.accept(&['*', '/', '%']) {
            let operator = match sign {
                '*' => Operator::Multiply,
                '/' => Operator::Divide,
                _ => Operator::Remainder,
            };
            left = binary(operator, left, self.signed(depth)?);
        }
        Ok(left)
    }

    fn signed(&mut self, depth: usize) -> Result<Formula, FormulaError> {
        if depth > DEPTH_MAX {
            return Err(FormulaError::TooDeep);
        }
        match self.accept(&['-', '+']) {
            Some('-') => Ok(Formula::Negative(Box::new(self.signed(depth + 1)?))),
            Some(_) => self.signed(depth + 1),
            None => self.power(depth),
        }
    }

    fn power(&mut self, depth: usize) -> Result<Formula, FormulaError> {
        let base = self.operand(depth)?;
        match self.accept(&['^']) {
            // Its right side may have a sign and a power of its own.
            Some(_) => Ok(binary(Operator::Power, base, self.signed(depth + 1)?)),
            None => Ok(base),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Formula, FormulaError> {
        match self.next()? {
            Token::Number(number) => Ok(Formula::Number(number)),
            Token::Name(name) => match self.accept(&['(']) {
                Some(_) => self.call(name, depth),
                None => (self.part)(name)
                    .ok_or_else(|| FormulaError::UnknownPart { name: name.to_owned() }),
            },
            Token::Sign('(') => {
                let inner = self.sum(depth + 1)?;
                self.close()?;
                Ok(inner)
            }
            other @ (Token::Sign(_) | Token::End) => Err(unexpected(&other, OPERAND)),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Formula, FormulaError> {
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(FormulaError::UnknownFunction { name: name.to_owned() });
        };
        let mut arguments = vec![self.sum(depth + 1)?];
        while self.accept(&[',']).is_some() {
            arguments.push(self.sum(depth + 1)?);
        }
        self.close()?;
        let takes_several = matches!(function, Function::Min | Function::Max);
        if arguments.len() > 1 && !takes_several {
            return Err(FormulaError::Arguments { name: name.to_owned() });
        }
        Ok(Formula::Call(*function, arguments))
    }

    fn close(&mut self) -> Result<(), FormulaError> {
        let token = self.next()?;
        if token != Token::Sign(')') {
            return Err(unexpected(&token, "`)` or an operator"));
        }
        Ok(())
    }

    fn accept(&mut self, signs: &[char]) -> Option<char> {
        self.rest = self.rest.trim_start();
        let sign = self.rest.chars().next().filter(|sign| signs.contains(sign))?;
        self.rest = self.rest.strip_prefix(sign)?;
        Some(sign)
    }

    fn next(&mut self) -> Result<Token<'t>, FormulaError> {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        if first == '`' {
            let behind = self.rest.get(1..).unwrap_or_default();
            let Some((name, rest)) = behind.split_once('`') else {
                return Err(unexpected(&Token::End, "a second backtick"));
            };
            self.rest = rest;
            return Ok(Token::Name(name));
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if first.is_ascii_digit() || first == '.' {
            return self.number(first);
        }
        if is_word(first) {
            return Ok(Token::Name(self.split(|c| !is_word(c))));
        }
        self.rest = self.rest.strip_prefix(first).unwrap_or_default();
        Ok(Token::Sign(first))
    }

    fn number(&mut self, first: char) -> Result<Token<'t>, FormulaError> {
        let mut before = first;
        let text = self.split(|c| {
            // The sign of an exponent belongs to it.
            let goes_on =
                c.is_alphanumeric() || c == '.' || (matches!(c, '+' | '-') && before == 'e');
            before = c;
            !goes_on
        });
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Number(number)),
            Ok(_) | Err(_) => Err(unexpected(&Token::Name(text), OPERAND)),
        }
    }

    /// Takes what stands before the first character that `is_end`.
    fn split(&mut self, is_end: impl FnMut(char) -> bool) -> &'t str {
        let (taken, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }
}

fn binary(operator: Operator, left: Formula, right: Formula) -> Formula {
    Formula::Binary(operator, Box::new(left), Box::new(right))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Points `a`, `b` and `flow-temperature`.
    fn part(name: &str) -> Option<Formula> {
        ["a", "b", "flow-temperature"].iter().position(|known| *known == name).map(Formula::Part)
    }

    fn value(text: &str) -> f64 {
        let formula = Formula::parse(text, &mut part).expect(text);
        formula.evaluate(&|index| [6.0, 4.0, 21.5].get(index).copied()).expect("all are there")
    }

    #[test]
    fn calculations_come_out_as_on_paper() {
        for (text, result) in [
            ("1", 1.0),
            ("a + b * 0.1", 6.4),
            ("(a + b) * 0.1", 1.0),
            ("a - b - 1", 1.0),
            ("a / b / 2", 0.75),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2", -4.0),
            ("2 ^ -1", 0.5),
            ("-a + +b - -1", -1.0),
            ("a % b", 2.0),
            ("-a % b", -2.0),
            ("1.5e3 + 2e-1+.5", 1500.7),
            ("`flow-temperature` - a", 15.5),
            ("min(a, b, 5) + max(a, b) + max(1)", 11.0),
            ("abs(b - a) + sqrt(b) + round(2.5) + floor(-0.5) + ceil(0.5)", 7.0),
            ("((((a))))", 6.0),
            ("a*b", 24.0),
        ] {
            assert!((value(text) - result).abs() < 1e-9, "{text}: {}", value(text));
        }
        assert!(value("1 / 0").is_infinite() && value("0 / 0").is_nan());
    }

    #[test]
    fn what_is_no_calculation_is_told_by_its_first_fault() {
        for (text, told) in [
            ("", "the end stands where a number or a point is expected"),
            ("a +", "the end stands where a number or a point is expected"),
            ("a b", "`b` stands where an operator such as `+` is expected"),
            ("(a", "the end stands where `)` or an operator is expected"),
            ("a)", "`)` stands where an operator such as `+` is expected"),
            ("c + 1", "there is no point `c` here"),
            ("sin(a)", "there is no function `sin`"),
            ("abs(a, b)", "`abs` takes one number"),
            ("1.2.3", "`1.2.3` stands where a number or a point is expected"),
            ("1e999", "`1e999` stands where a number or a point is expected"),
            ("0x10", "`0x10` stands where a number or a point is expected"),
            ("`a", "the end stands where a second backtick is expected"),
            ("a = b", "`=` stands where an operator such as `+` is expected"),
        ] {
            let error = Formula::parse(text, &mut part).expect_err(text);
            assert_eq!(error.to_string(), told, "{text}");
        }
        for deep in
            ["(".repeat(10_000), "-".repeat(10_000), "2^".repeat(10_000), "abs(".repeat(10_000)]
        {
            assert_eq!(Formula::parse(&deep, &mut part), Err(FormulaError::TooDeep));
        }
    }

    #[test]
    fn the_parts_are_those_that_are_used() {
        let mut parts = Vec::new();
        let formula = Formula::parse("max(a, -b) + a ^ 2", &mut part).expect("right");
        formula.parts(&mut |index| parts.push(index));
        assert_eq!((parts, formula.size()), (vec![0, 1, 0], 8));
        assert_eq!(formula.evaluate(&|index| (index == 0).then_some(1.0)), None);
    }

    #[test]
    fn a_scale_factor_loses_nothing() {
        let scaled = |number: f64, exponent: f64| {
            let arguments = vec![Formula::Number(exponent), Formula::Number(number)];
            Formula::Call(Function::ScaleBy, arguments).evaluate(&|_| None)
        };
        assert_eq!(scaled(2301.0, -1.0), Some(230.1));
        assert_eq!(scaled(2301.0, -3.0), Some(2.301));
        assert_eq!(scaled(23.0, 2.0), Some(2300.0));
        assert_eq!(scaled(23.0, 0.0), Some(23.0));
    }

    proptest! {
        #[test]
        fn any_text_is_a_calculation_or_none(text in "[-a-c0-9+*/%^(),.` e]{0,60}|.{0,40}") {
            if let Ok(formula) = Formula::parse(&text, &mut part) {
                let _ = formula.evaluate(&|index| Some(index as f64));
            }
        }
    }
}

//! core: whole numbers as text. Every reading has some, and the formatting of the standard library is made for more.

/// The digits of a 64-bit number, at most.
const DIGITS_MAX: usize = 20;

/// Puts `number` behind `text`.
pub(super) fn push_number(text: &mut String, number: u64) {
    let mut digits = [0; DIGITS_MAX];
    let (mut left, mut count) = (number, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
        count += 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend(digits.iter().skip(DIGITS_MAX - count).map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_written_as_the_standard_library_writes_it() {
        for number in [0, 1, 9, 10, 99, 100, 4_294_967_296, u64::MAX - 1, u64::MAX] {
            let mut text = "id-".to_owned();
            push_number(&mut text, number);
            assert_eq!(text, format!("id-{number}"));
        }
    }
}

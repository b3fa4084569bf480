//! The colours of the style against the contrast that WCAG 2.2 asks for.

use super::super::html::STYLE;

/// WCAG 2.2, success criterion 1.4.3 (text) and 1.4.11 (focus, marks).
#[test]
fn colours_have_enough_contrast_in_both_themes() {
    let (light, dark) = STYLE.split_once("@media (prefers-color-scheme: dark)").unwrap();
    for theme in [light, dark] {
        for (ink, ground, least) in [
            ("text", "card", 4.5),
            ("muted", "card", 4.5),
            ("muted", "page", 4.5),
            ("muted", "glow", 4.5),
            ("text", "chip", 4.5),
            ("on-accent", "accent", 4.5),
            ("on-accent", "hover", 4.5),
            ("accent", "card", 3.0),
            ("accent", "chip", 3.0),
            ("red", "chip", 3.0),
            ("green", "chip", 3.0),
            ("amber", "chip", 3.0),
        ] {
            let (ink_light, ground_light) = (luminance(theme, ink), luminance(theme, ground));
            let (high, low) = (ink_light.max(ground_light), ink_light.min(ground_light));
            let contrast = (high + 0.05) / (low + 0.05);
            assert!(contrast >= least, "{ink} on {ground}: {contrast}");
        }
    }
}

/// The relative luminance of a colour of the style, as WCAG 2.2 defines it.
fn luminance(theme: &str, name: &str) -> f64 {
    let (_, value) = theme.split_once(&format!("--{name}: #")).unwrap();
    let (hex, _) = value.split_once(';').unwrap();
    let rgb = u32::from_str_radix(hex, 16).unwrap();
    let [_, red, green, blue] = rgb.to_be_bytes().map(|channel| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

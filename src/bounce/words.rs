//! The words of a notification, in Danish and English.

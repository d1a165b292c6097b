//! Tries all collections of replies on the rules.

use super::wordings_heard::HEARD;
use super::wordings_invented::INVENTED;
use super::wordings_invented_of_one::INVENTED_OF_ONE;
use super::wordings_unseen::UNSEEN;

#[test]
fn each_reply_of_a_collection_means_what_was_written_down() {
    for collection in [HEARD, INVENTED, INVENTED_OF_ONE, UNSEEN] {
        collection.check();
    }
}

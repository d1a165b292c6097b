//! Finds refusals that are about us: the address we connect from, our right to connect, or the login that we lack.
//! Servers say so when they hear the sender or the first recipient, and mean every recipient.

use super::words::Words;

pub(super) const NEGATIVE_WORDS: &[&str] = &[
    " not ",
    " no ",
    " denied ",
    " deny",
    " denies ",
    " refus",
    " reject",
    " block",
    " banned ",
    " blacklist",
    " forbidden ",
    " prohibited ",
    " unauthori",
    " disallow",
    " invalid ",
    " unable ",
    " cannot ",
    " cant ",
    " dont ",
    " doesnt ",
    " isnt ",
    " arent ",
    " wont ",
    " never ",
    " disabled ",
    " restricted ",
    // German, Danish, Swedish, French, Spanish.
    " nicht ",
    " kein",
    " verweiger",
    " gesperrt ",
    " verboten ",
    " ikke ",
    " spærret ",
    " afvist ",
    " afvises ",
    " blokeret ",
    " abgelehnt ",
    " sperrliste ",
    " sortlist",
    " svartlist",
    " schwarze liste ",
    " schwarzen liste ",
    " liste noire ",
    " lista negra ",
    " inte ",
    " blockerad ",
    " niet ",
    " geblokkeerd ",
    " spärra",
    " interdit",
    " bloqué",
    " denegad",
    " bloquead",
    " non consentit",
    " non autoris",
    " non permis",
    " bloccat",
];
/// Words for a recipient that the server does not know, whatever else the text says.
const UNKNOWN_RECIPIENT_WORDS: &[&str] = &[
    " user unknown ",
    " unknown user ",
    " no such ",
    " does not exist ",
    " doesnt exist ",
    " invalid recipient",
    " unknown recipient",
    " recipient unknown ",
    " recipient not found ",
    " user not found ",
    " not found in ",
    " recipient table ",
    " may not exist ",
];

/// Words for somebody's address, or for a failure of the server, beside which a machine is not ours.
const ABOUT_PEOPLE: &[&str] = &[
    " user",
    " recipient",
    " mailbox",
    " account",
    " address at ",
    " destination ",
    " alias ",
    " host not found ",
    " host unknown ",
    " unknown host ",
    " error ",
    " problem",
    " configuration ",
    " login ",
    " log in ",
    " authenticat",
    " certificate ",
    " relay",
    " domain ",
    " message ",
    " send as ",
    " sender address ",
    " this address ",
    " address is ",
    " address on ",
    " address for ",
    " invalid address ",
    " rejected address ",
    " address rejected ",
    " address unknown ",
    " deliver",
    " remote server ",
    " remote host ",
    " our server ",
    " of ours ",
];

/// Returns true if the server does not know the recipient.
pub fn recipient_is_unknown(words: &Words) -> bool {
    words.any(UNKNOWN_RECIPIENT_WORDS)
}

/// Returns true if the server says that a client like us may not connect, or accepts no mail from it.
pub fn may_not_connect(words: &Words) -> bool {
    // The server asked the sender's or the recipient's server, and repeats that one's reply.
    let of_others = [
        " sender address ",
        " recipient address ",
        " sender domain ",
        " verif",
        " callout ",
        " callback ",
        " remote server said ",
    ];
    let of_our_name = words.any(&[" your hostname ", " your host name ", " your reverse "]);
    if (words.any(&of_others) && !of_our_name) || recipient_is_unknown(words) || words.any(&[" mailbox "]) {
        return false;
    }
    if is_on_block_list(words) {
        return true;
    }
    let connect = [
        " allowed to connect ",
        " authorized to connect ",
        " authorised to connect ",
        " permitted to connect ",
        " may not connect ",
        " entitled to connect ",
        " cannot connect from ",
        " connecting from ",
        " connecting host ",
        " connections from ",
        " connection from ",
        " connection rejected ",
        " connection refused ",
        " connection denied ",
        " connection blocked ",
        " connection not allowed ",
        " connection not permitted ",
        " from this host ",
        " from this server ",
        " from this network ",
        " from this client ",
        " from mail server ",
        " from outside ",
        " your access ",
        " host not permitted ",
        " host not allowed ",
        " host not authorized ",
        " host not on ",
        " host not in ",
        " host denied ",
        " host refused ",
        " host rejected ",
        " host blocked ",
        " connection is not allowed ",
        " connections are not ",
        " connections not ",
        " mail from your ",
        " mail from this ip ",
        " no mail from you ",
        " may connect ",
        " use this server ",
        " use our server ",
        " known hosts ",
        " known servers ",
        " trusted hosts ",
        " trusted servers ",
        " must be whitelisted ",
        " must be on the whitelist ",
        " must be on our ",
        " by firewall ",
        " by the firewall ",
        " by our firewall ",
        " access list ",
    ];
    let machine = [
        " your ip",
        " your host",
        " your remotehost ",
        " your server",
        " your network ",
        " your mail server",
        " your machine ",
        " your computer ",
        " your system ",
        " your country ",
        " resolve your address ",
        " client host ",
        " client ip ",
        " client address ",
        " client not ",
        " client is not ",
        " sending ip ",
        " sending host ",
        " sending server ",
        " sending mta",
        " server sending ",
        " host sending ",
        " server that sen",
        " host that sen",
        " senders ip",
        " senders host ",
        " unknown network ",
        " geographical ",
        " reverse hostname ",
        " source ip ",
        " source address ",
        " remote ip ",
        " this ip ",
        " ip address ",
        " ip name ",
        " ip based ",
        " helo ",
        " ehlo ",
        " reverse dns ",
        " rdns ",
        " ptr ",
        " unauthorized client ",
        " unauthorized host ",
        " unauthorized ip ",
        " ip not ",
        " ip is ",
        " spam ips ",
        " relay host name ",
        " fcrdns ",
        " confirmed reverse dns ",
        " your provider ",
        " your isp ",
        // German, Danish, French.
        " ihr server ",
        " ihr mailserver ",
        " ihre ip ",
        " ip adresse ",
        " ip adressen ",
        " din server ",
        " jeres server ",
        " din mailserver ",
        " jeres mailserver ",
        " ip adress ",
        " ip adres ",
        " su ip ",
        " indirizzo ip ",
        " hostname lookup ",
        " votre ip ",
        " votre serveur ",
        " serveur émetteur ",
        " serveur expéditeur ",
        " adresse ip ",
    ];
    let bad = [
        " listed ",
        " missing ",
        " bad ",
        " must ",
        " in the ",
        " unresolvable ",
        " suspicious",
        " unknown ",
        " only ",
        " too low ",
        " failed ",
        " mismatch",
        " not match ",
        " doesnt match ",
        " schlecht",
        " fehlt ",
        " dårlig",
        " mangler ",
        " mauvais",
    ];
    if (words.any(&connect) || words.any(&machine)) && (words.any(NEGATIVE_WORDS) || words.any(&bad)) {
        let of_recipient = [
            " user does not ",
            " user is not ",
            " recipient does not ",
            " recipient only ",
            " group does not ",
            " address does not ",
            " address only ",
            " address takes ",
            " account does not ",
            " list does not ",
            " list only ",
        ];
        let must = words.any(&[" must be whitelisted "]) && words.any(&[" user", " recipient", " sender", " address"]);
        return !words.any(&of_recipient) && !must;
    }
    // Nobody speaks of the name of a machine in a refusal unless it is wrong.
    if words.any(&[" reverse dns name ", " reverse dns for ", " reverse dns of ", " reverse dns entry "])
        && words.any(&[" your "])
    {
        return true;
    }
    // The server wants mail from the provider's server.
    let providers = [" isp", " own isp", " provider", " own provider", " own mail server", " own smtp server"];
    if words.near(" your ", &providers, 0)
        && words.any(&[" use ", " send through ", " send via ", " through ", " via "])
    {
        return true;
    }
    // The server speaks of a machine that it does not know. Without these words, an unknown host is the recipient's.
    let machines_seen = [" host ", " hostname ", " ip ", " client ", " server "];
    let unknown = [" unknown to us ", " unknown here ", " not known to us ", " not known here "];
    let names_host = words.near(" host ", &[" from unknown ", " from an unknown "], 4);
    if names_host || machines_seen.iter().any(|machine| words.near(machine, &unknown, 1)) {
        return true;
    }
    // The server takes mail only from another one that stands in front of it.
    let of_server = [" this server ", " this host ", " this mx ", " this system ", " this gateway ", " we "];
    let takes_from =
        [" accepts mail only from ", " accept mail only from ", " only accepts mail from ", " only accept mail from "];
    let through = [
        " connections only from ",
        " mail must come through ",
        " mail must be sent through ",
        " mail must be delivered through ",
    ];
    let of_another = words.any(&through) || (words.any(&takes_from) && words.any(&of_server));
    if of_another && !words.any(&[" user", " recipient", " sender", " address", " group ", " domain "]) {
        return true;
    }
    // Any other word for a machine close to a word of refusal, where nothing in the text is about a person.
    let machines = [
        " ip ",
        " ips ",
        " host ",
        " server ",
        " client ",
        " network ",
        " location ",
        " acl ",
        " reverse dns ",
        " mta ",
        " azure ",
        " cloud ",
    ];
    let refusals = [NEGATIVE_WORDS, &[" whitelisted ", " allowlisted ", " unknown ", " must ", " generic "]].concat();
    words.near(" ip ", NEGATIVE_WORDS, 2) || (!words.any(ABOUT_PEOPLE) && words.close(&machines, &refusals, 3))
}

/// Returns true if the server finds the client on a list of addresses that send spam, or thinks badly of it. A list that
/// somebody keeps for one mailbox, and lists of senders and links, are others.
fn is_on_block_list(words: &Words) -> bool {
    let lists = [
        " spamhaus ",
        " sorbs ",
        " spamcop ",
        " barracudacentral ",
        " dnsbl",
        " rbl ",
        " blacklisted ",
        " blocklisted ",
        " black list",
        " block list",
        " blacklist ",
        " blocklist ",
        " poor reputation ",
        " poor ip reputation ",
        " ip domain reputation ",
        " open proxy ",
        " dynamic ip",
        " dynamic address",
        " dynamic space ",
        " dynamic range",
        " dynamic pool",
        " residential ",
        " dialup ",
        " dial up ",
        " zombied ",
        " invalid ip ",
    ];
    let of_others = [
        " sender ",
        " senders ",
        " by recipient ",
        " by the recipient ",
        " by user ",
        " by its owner ",
        " recipients ",
        " mailbox ",
        " domain is ",
        " your domain ",
        " your address is ",
        " email address ",
        " url",
        " uribl ",
        " surbl ",
        " dbl ",
        " link",
        " content ",
    ];
    words.any(&lists) && (!words.any(&of_others) || words.any(&[" poor reputation sender "]))
}

/// Returns true if the server asks for a login that it did not get. The mail's own authentication (SPF, DKIM) is another
/// matter, and so is what a distribution list asks of its senders.
pub fn wants_login(words: &Words) -> bool {
    let of_mail = [
        " sender authentication ",
        " email authentication ",
        " unauthenticated email ",
        " unauthenticated mail ",
        " authentication information ",
        " authentication level ",
        " authentication check",
        " spf ",
        " dkim ",
        " dmarc ",
        " resolver rst ",
        " list ",
        " group ",
        " mailbox ",
        " recipient ",
    ];
    if words.any(&of_mail) || recipient_is_unknown(words) {
        return false;
    }
    let before = [
        " pop before smtp ",
        " pop3 before smtp ",
        " must check your mail ",
        " check your mail first ",
        " unauthenticated sender",
        " unauthenticated client",
        " submitter failed to authenticate ",
        " client failed to authenticate ",
        " you failed to authenticate ",
    ];
    let login = [
        " authenticat",
        " authentif",
        " authentisier",
        " authentifizier",
        " autentic",
        " autenticat",
        " smtp auth ",
        " auth ",
        " login ",
        " log in ",
        " anonymous ",
    ];
    let wanted = [
        " require",
        " must ",
        " need",
        " please ",
        " first ",
        " before ",
        " was not ",
        " not authenticated ",
        " not performed ",
        " no valid ",
        " without auth",
        " turned on ",
        " turn on ",
        " enable ",
        " sending disabled ",
        " requis",
        " erforderlich ",
        " kræve",
    ];
    let logged_in = [" login required ", " login is required ", " log in first ", " must log in ", " not logged in "];
    words.any(&before) || words.any(&logged_in) || (words.any(&login) && words.any(&wanted))
}

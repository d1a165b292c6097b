//! Finds refusals that are about us: the address we connect from, or our right to connect.
//! Servers say so when they hear the sender or the first recipient, and mean every recipient.

use super::words::Words;

/// Words of a refusal, in several languages.
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
    " ej ",
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
    " non autorizz",
    " non permis",
    " nægte",
    " pas ",
    " bloccat",
    " non è ",
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
    " findes ikke ",
    " ukendt bruger ",
    " ukendt modtager ",
    " finns inte ",
    " finnes ikke ",
    " existiert nicht ",
    " unbekannter empfänger ",
    " empfänger unbekannt ",
    " nexiste pas ",
    " no existe ",
    " non esiste ",
    " bestaat niet ",
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
    " the sender ",
    " absender",
    " afsender",
    " avsändar",
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
    " bruger",
    " modtager",
    " postkasse",
    " mottagare",
    " användare",
    " benutzer",
    " empfänger",
    " postfach",
];

/// Returns true if the server does not know the recipient.
pub fn recipient_is_unknown(words: &Words) -> bool {
    words.any(UNKNOWN_RECIPIENT_WORDS)
}

/// The server asked the sender's or the recipient's server, and repeats that one's reply.
const OF_OTHERS: &[&str] = &[
    " sender address ",
    " recipient address ",
    " sender domain ",
    " verif",
    " callout ",
    " callback ",
    " remote server said ",
];
/// Words for our connection, or for the right to connect.
const CONNECT: &[&str] = &[
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
    " are not on the allow",
    " are not on our allow",
    " from this host ",
    " from this server ",
    " from this network ",
    " from this range ",
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
    " authorized hosts ",
    " authorised hosts ",
    " authorized servers ",
    " authorised servers ",
    " approved hosts ",
    " approved servers ",
    " mail from our spam filter ",
    " mail from our filter ",
    " mail from our gateway ",
    " must be whitelisted ",
    " must be on the whitelist ",
    " must be on our ",
    " by firewall ",
    " by the firewall ",
    " by our firewall ",
    " access list ",
    " from untrusted ",
    " from an untrusted ",
    " from azure ",
    " from microsoft azure ",
    " from cloud ",
    " from hosting ",
    " from data cent",
    " may deliver here ",
    " forbindelser fra ",
    " forbindelse fra ",
    " anslutningar från ",
    " verbindungen von ",
];
/// Words for our machine or its address.
const OUR_MACHINE: &[&str] = &[
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
    " your connection",
    " country filter ",
    " asn ",
    " local network ",
    " internal network ",
    " our network ",
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
    " ip addresses ",
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
    " afsenderserver",
    " servern ",
    " servidor ",
    " ip adress ",
    " ip adres ",
    " su ip ",
    " tuo server ",
    " indirizzo ip ",
    " hostname lookup ",
    " host name lookup ",
    " votre ip ",
    " votre serveur ",
    " serveur émetteur ",
    " serveur expéditeur ",
    " adresse ip ",
];
/// Words for what is wrong with a machine, besides those of a refusal.
const BAD: &[&str] = &[
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
    " dropped ",
    " untrusted ",
    " failed ",
    " mismatch",
    " not match ",
    " doesnt match ",
    " schlecht",
    " fehlt ",
    " dårlig",
    " mangler ",
    " mauvais",
    " low reputation ",
    " hangup ",
];
/// Words of a server that takes mail only from another one.
const THROUGH: &[&str] = &[
    " connections only from ",
    " mail must come through ",
    " mail must be sent through ",
    " mail must be delivered through ",
    " mail must be sent via ",
    " mail must be delivered via ",
    " mail must be sent to our mx ",
    " mail must be delivered to our mx ",
    " send to our mx ",
];
/// Further words for a machine. They count close to a word of a refusal, where nothing in the text is about a person.
const MACHINES: &[&str] = &[
    " ip ",
    " ips ",
    " host ",
    " hosts ",
    " server ",
    " serveren ",
    " mailserver ",
    " mailserveren ",
    " client ",
    " network ",
    " networks ",
    " location ",
    " acl ",
    " reverse dns ",
    " mta ",
    " azure ",
    " cloud ",
];

/// Returns true if the server says that a client like us may not connect, or accepts no mail from it.
pub fn may_not_connect(words: &Words) -> bool {
    // The users' or the recipients' own server, which stands behind this one.
    let behind = [" server ", " host "];
    if words.near(" users ", &behind, 1) || words.near(" recipients ", &behind, 1) {
        return false;
    }
    let of_our_name = words.any(&[" your hostname ", " your host name ", " your reverse ", " reverse dns "]);
    if (words.any(OF_OTHERS) && !of_our_name) || recipient_is_unknown(words) || words.any(&[" mailbox "]) {
        return false;
    }
    if is_on_block_list(words) {
        return true;
    }
    if (words.any(CONNECT) || words.any(OUR_MACHINE)) && (words.any(NEGATIVE_WORDS) || words.any(BAD)) {
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
            " list is ",
            " group is ",
            " address is for ",
            " person does not ",
            " of this recipient ",
        ];
        let persons = [" user ", " recipient ", " mailbox ", " group ", " list "];
        let refuses =
            [" refuses ", " rejects ", " blocks ", " blocked ", " has blocked ", " accepts only ", " takes only "];
        let by_recipient = persons.iter().any(|person| words.near(person, &refuses, 0));
        let must = words.any(&[" must be whitelisted "]) && words.any(&[" user", " recipient", " sender", " address"]);
        let to_one = words.any(&[" mail to "]) && words.any(&[" from outside "]);
        return !words.any(&of_recipient) && !by_recipient && !must && !to_one;
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
    let names_of_machines = [" ptr ", " reverse dns ", " rdns ", " fcrdns ", " helo ", " ehlo ", " hostname "];
    let wants_name = words.close(&names_of_machines, &[" required "], 3);
    let not_on = [" is not on ", " is not permitted ", " is not allowed ", " is not authori"];
    let names_host = wants_name
        || words.near(" host ", &not_on, 5)
        || words.near(" host ", &[" from unknown ", " from an unknown "], 4);
    if names_host || machines_seen.iter().any(|machine| words.near(machine, &unknown, 1)) {
        return true;
    }
    // The server serves its own people only.
    let for_own = [" internal use ", " private use ", " own use "];
    let servers = [" server ", " host ", " gateway ", " system ", " mta ", " mail server "];
    if words.any(&for_own)
        && words.any(&servers)
        && !words.any(&[" user", " recipient", " address", " list ", " group "])
    {
        return true;
    }
    // The server takes mail only from another one that stands in front of it.
    let of_server = [" this server ", " this host ", " this mx ", " this system ", " this gateway ", " we "];
    let takes_from =
        [" accepts mail only from ", " accept mail only from ", " only accepts mail from ", " only accept mail from "];
    let accepts = [" accepts mail from ", " takes mail from "];
    let takes_only = accepts.iter().any(|accepts| words.near(accepts, &[" only "], 3));
    let of_another = words.any(THROUGH) || ((words.any(&takes_from) || takes_only) && words.any(&of_server));
    if of_another && !words.any(&[" user", " recipient", " sender", " address", " group ", " domain "]) {
        return true;
    }
    let refusals = [NEGATIVE_WORDS, &[" whitelisted ", " allowlisted ", " unknown ", " must ", " generic "]].concat();
    words.near(" ip ", NEGATIVE_WORDS, 2) || (!words.any(ABOUT_PEOPLE) && words.close(MACHINES, &refusals, 3))
}

/// Returns true if the text, which names a machine, says that this machine is refused. A text that speaks of a recipient may name the
/// machine beside it.
pub fn refuses_a_machine(words: &Words) -> bool {
    let refused = [
        " block",
        " blacklist",
        " listed ",
        " banned ",
        " refused ",
        " denied ",
        " rejected ",
        " not allowed ",
        " not permitted ",
        " not accepted ",
        " not welcome ",
    ];
    let of_recipient = [" user", " recipient", " mailbox", " account", " alias", " full ", " quota "];
    words.any(&refused) && !recipient_is_unknown(words) && !words.any(&of_recipient)
}

/// Words for a list of addresses that send spam, or for the addresses that stand on such lists.
const LISTS: &[&str] = &[
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
    " blacklistet ",
    " blokeringsliste",
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
    " bad ip ",
    " black ip ",
    " geoip ",
    " senderscore ",
    " spamliste ",
];
/// Words for lists of senders and links, and for a list that somebody keeps for one mailbox.
const NOT_OF_MACHINES: &[&str] = &[
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

/// Returns true if the server finds the client on a list of addresses that send spam, or thinks badly of it. A list that
/// somebody keeps for one mailbox, and lists of senders and links, are others.
fn is_on_block_list(words: &Words) -> bool {
    let of_user = words.near(" users ", LISTS, 0) || words.near(" user ", LISTS, 2);
    words.any(LISTS) && !of_user && (!words.any(NOT_OF_MACHINES) || words.any(&[" poor reputation sender "]))
}

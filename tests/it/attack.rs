//! What hostile tests, bundles, users and moments do to the tool and to the machine it runs on, number by number of the
//! review that found them. Those whose test stands with the part of the tool that they broke are not repeated here.

mod left;
mod measure;
mod processes;
mod setuid;
mod terminal;

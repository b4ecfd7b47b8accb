"""Usual names of tables and columns, and usual words of statuses and kinds, in English, German, French and Spanish.

Names are compared without case, accents, blanks and signs: `Deal - Status`, `dealStatus` and `deal_status` are one.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from store.source.values.texts import folded, plain

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@lru_cache(maxsize=1 << 14)
def spoken(name: str) -> str:
    """Return the words of a name in one spelling: lower case, without accents, joined by ``_``."""
    text = folded(_CAMEL.sub(" ", plain(name)))
    text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    # ä is also written ae
    return re.sub("(?<=[aou])e", "", "_".join(re.findall(r"[^\W_]+", text)))


def words_of(text: str) -> tuple[str, ...]:
    """Return the names in a text, which are separated by blanks, as `spoken` writes them."""
    return tuple(dict.fromkeys(map(spoken, text.split())))


def phrases(text: str) -> tuple[str, ...]:
    """Return the words of a source in a text, which are separated by commas."""
    return tuple(text.split(", "))


TABLE_NAMES: Mapping[str, Sequence[str]] = {
    "leads": words_of(
        "lead prospect inquiry enquiry anfrage interessent application antrag request lead_export piste demande "
        "consulta person people contact kontakt ansprechpartner customer client kunde kundenstamm cliente contacto "
        "contacts account company firma organization organisation empresa societe entreprise"
    ),
    "projects": words_of(
        "deal opportunity project offer quote quotation proposal sales_pipeline pipeline sale verkaufschance chance "
        "angebot projekt auftrag geschaeft affaire opportunite devis oportunidad negocio presupuesto order"
    ),
    "appointments": words_of(
        "appointment booking meeting termin besichtigung rendezvous rendez_vous rdv cita reunion visit besuch viewing "
        "calendar kalender"
    ),
    "interactions": words_of(
        "interaction activity engagement touchpoint event communication call phone_call email mail sms message note "
        "task aktivitaet kontakthistorie anruf telefonat nachricht notiz aufgabe activite appel courriel actividad "
        "llamada correo mensaje nota timeline"
    ),
    "changes": words_of("change history lead_change field_history audit verlauf historie historique historial"),
}
"""Names of tables by contract table, in the singular."""

ORDERS = frozenset(
    words_of(
        "order purchase sale transaction payment invoice receipt checkout bestellung kauf verkauf einkauf rechnung "
        "umsatz buchung commande achat vente facture pedido compra venta factura"
    )
)
"""Names of tables whose rows are bought, in the singular."""

PEOPLE = frozenset(
    words_of(
        "lead prospect inquiry enquiry anfrage interessent application antrag request piste demande consulta person "
        "people contact kontakt ansprechpartner customer client kunde kundenstamm cliente contacto"
    )
)
"""Names of tables of leads whose rows are people, or requests of people."""

REQUESTS = frozenset(words_of("lead prospect inquiry enquiry anfrage interessent application antrag request"))
"""Names of tables of leads that can mean nothing else."""

KINDS_OF_TABLES: Mapping[str, str] = {
    "call": "call", "phone_call": "call", "anruf": "call", "telefonat": "call", "appel": "call", "llamada": "call",
    "email": "email", "mail": "email", "courriel": "email", "correo": "email",
    "sms": "sms", "message": "sms", "nachricht": "sms", "mensaje": "sms",
    "meeting": "meeting", "visit": "meeting", "note": "note", "notiz": "note", "nota": "note",
    "task": "note", "aufgabe": "note",
}  # fmt: skip
"""The kind of interaction of the rows of a table of this name."""

ENTITIES = frozenset(
    words_of(
        "lead contact customer client person account company deal opportunity project offer quote interaction activity "
        "event call email note task appointment meeting booking change record row entry item kunde kunden kontakt "
        "anfrage interessent antrag application request angebot auftrag projekt termin aktivitat crm hs sales cita "
        "negocio affaire opportunite oportunidad cliente contacto property"
    )
)
"""Words that name the row itself, so that `deal_status` of a table of deals is its status."""

KEYS = words_of(
    "id uuid guid key record_id nr no num number nummer kennung code reference ref referenz identifier identifiant "
    "identificador numero row_id"
)
"""Names of keys, once the word for the row is left out."""

_CREATED = words_of(
    "created_at created create_date created_date creation_date date_created created_on created_time create_time "
    "creation_time added_at add_time date_added added_on added date_entered entered_at entry_date inquiry_date "
    "enquiry_date request_date registered_at registration_date registered signup_date signed_up_at inserted_at "
    "submitted_at submission_date erstellt_am erstellt erstelldatum erstellungsdatum angelegt_am angelegt anlagedatum "
    "anlage_datum erfasst_am erfassungsdatum eingangsdatum eingang eingegangen_am anfragedatum date_creation "
    "date_de_creation cree_le date_ajout date_d_ajout fecha_creacion fecha_de_creacion creado_el creado fecha_alta "
    "fecha_de_alta opened_at open_date opening_date open_time date_opened start_date started_at engage_date "
    "first_contact_date first_contact first_contacted first_seen first_seen_at lead_date created_dt erstkontakt"
)

_UPDATED = words_of(
    "updated_at updated last_updated last_update update_time updated_on modified modified_at modified_on modified_date "
    "last_modified last_modified_at last_modified_date date_modified modified_time lastmodifieddate system_modstamp "
    "geandert_am geandert anderungsdatum letzte_anderung letzte_aktualisierung zuletzt_geandert aktualisiert_am "
    "date_modification date_de_modification modifie_le mis_a_jour_le fecha_modificacion fecha_de_modificacion "
    "modificado_el actualizado actualizado_el"
)

_OWNER = words_of(
    "assigned_to owner owner_name owner_id assignee assigned_user assigned_user_id sales_rep rep representative "
    "sales_agent agent salesperson sales_person account_manager account_executive account_owner responsible "
    "responsible_user user_id user seller verantwortlich verantwortlicher zustandig bearbeiter betreuer "
    "vertriebsmitarbeiter verkaufer mitarbeiter kundenberater berater besitzer responsable proprietaire commercial "
    "vendeur propietario vendedor asignado_a asesor"
)

_STATUS = words_of(
    "status stage state lifecycle_stage lifecyclestage pipeline_stage sales_stage phase stufe zustand stand statut "
    "etat etape estado etapa fase"
)

_BY = words_of(
    "performed_by done_by made_by created_by logged_by user user_id user_name owner owner_id owner_name agent rep by "
    "sales_rep employee assigned_to author sender mitarbeiter bearbeiter durchgefuehrt_von erfasst_von utilisateur "
    "auteur usuario autor responsable"
)

OUT = frozenset(
    words_of("deleted trash removed test tests backup geloscht papierkorb supprime supprimes corbeille eliminado")
)

COLUMN_NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "leads": {
        "source": words_of(
            "source lead_source original_source first_source origin lead_origin channel acquisition_channel "
            "marketing_channel utm_source traffic_source medium referrer quelle leadquelle herkunft kanal lead_quelle "
            "origine provenance canal source_du_lead fuente origen fuente_del_lead procedencia campaign"
        ),
        "created_at": _CREATED,
        "assigned_to": _OWNER,
        "property_value": words_of(
            "property_value budget estimated_value estimated_budget potential asking_price list_price home_value "
            "house_price requested_amount amount_requested loan_amount credit_amount kreditbetrag kreditsumme "
            "objektwert immobilienwert kaufpreis wunschpreis valeur_estimee valeur_du_bien presupuesto valor_estimado"
        ),
        "zip_code": words_of(
            "zip_code zip zipcode postal_code postalcode postcode post_code mailing_postal_code billing_postal_code "
            "plz postleitzahl code_postal cp codigo_postal"
        ),
        "status": _STATUS,
        "updated_at": _UPDATED,
    },
    "interactions": {
        "type": words_of(
            "type activity_type interaction_type event_type engagement_type kind channel medium category event "
            "activity art typ aktivitat aktivitatsart kanal kontaktart tipo canal categorie categoria"
        ),
        "direction": words_of("direction richtung sens direccion in_out inbound_outbound call_direction"),
        "occurred_at": words_of(
            "occurred_at occurred timestamp activity_date activity_time event_time event_date event_timestamp "
            "interaction_date happened_at datetime date_time date time start_time started_at start start_date done_at "
            "marked_as_done_time completed_at sent_at call_time call_date zeitpunkt datum zeitstempel am wann "
            "durchgefuhrt_am date_heure date_activite fecha fecha_hora fecha_actividad due_date"
        ),
        "recorded_at": words_of(
            "recorded_at logged_at created_at created created_date date_created entered_at inserted_at erfasst_am "
            "erstellt_am eingetragen_am saisi_le registrado_el"
        ),
        "performed_by": _BY,
        "outcome": words_of(
            "outcome result disposition call_outcome call_result call_disposition ergebnis resultat resultado "
            "resultat_appel response"
        ),
        "opened_at": words_of(
            "opened_at opened open_time email_opened read_at read geoffnet_am geoffnet ouvert_le ouvert abierto_el "
            "abierto"
        ),
        "responded_at": words_of(
            "responded_at replied_at replied reply_time response_time answered_at answered response_received responded "
            "beantwortet_am beantwortet antwort_am repondu_le repondu respondido_el respondido"
        ),
    },
    "appointments": {
        "booked_at": (*words_of("booked_at booked booking_date booking_time gebucht_am "
                                "vereinbart_am reserve_le reservado_el"), *_CREATED),
        "scheduled_at": words_of(
            "scheduled_at scheduled_for scheduled scheduled_time scheduled_date appointment_date appointment_time "
            "appointment_at meeting_date meeting_time starts_at start_time start start_date start_datetime "
            "activity_date date datetime date_time due_date due_at terminzeit termindatum termin beginn beginnt_am "
            "datum date_rdv date_rendez_vous debut fecha_cita fecha inicio hora"
        ),
        "status": (*_STATUS, *words_of(
            "outcome result ergebnis resultat resultado completed held attended done stattgefunden erledigt"
        )),
        "ended_at": words_of(
            "ended_at end_time ends_at end end_date end_datetime completed_at held_at finished_at ende endet_am "
            "beendet_am fin fin_le termine_le"
        ),
        "rescheduled_from": words_of("rescheduled_from moved_from previous_appointment_id verschoben_von"),
    },
    "projects": {
        "value": words_of(
            "value amount deal_value deal_amount total total_amount total_value price close_value closed_value "
            "contract_value order_value revenue sales_amount net_amount betrag wert summe umsatz auftragswert "
            "angebotssumme auftragssumme preis gesamtbetrag volumen montant valeur prix chiffre_d_affaires monto valor "
            "importe precio ingresos"
        ),
        "cost": words_of("cost costs total_cost kosten aufwand cout couts coste costo costes"),
        "status": (*_STATUS, *words_of("is_won won outcome result win_loss ergebnis resultat resultado gewonnen")),
        "stage": words_of(
            "stage pipeline_stage sales_stage stage_name dealstage phase stufe verkaufsphase vertriebsphase etape "
            "etapa fase"
        ),
        "proposed_at": (*words_of(
            "proposed_at proposal_date offer_date quote_date offered_at sent_at angebotsdatum angeboten_am date_devis "
            "fecha_oferta"
        ), *_CREATED),
        "closed_at": words_of(
            "closed_at close_date closed closed_date closedate closed_on date_closed close_time closed_time "
            "closing_date actual_close_date won_at won_time won_date lost_at lost_time lost_date decision_date "
            "decided_at end_date ended_at completed_at signed_at abschlussdatum abschluss_datum datum_abschluss "
            "abgeschlossen_am abgeschlossen "
            "geschlossen_am abschluss entscheidung_am entscheidungsdatum date_cloture date_de_cloture cloture_le "
            "date_signature fecha_cierre fecha_de_cierre cerrado_el"
        ),
        "expected_close_at": words_of(
            "expected_close_at expected_close_date expected_close forecast_close_date forecast_date planned_close_date "
            "estimated_close_date target_date erwartetes_abschlussdatum erwarteter_abschluss geplanter_abschluss "
            "voraussichtlicher_abschluss date_cloture_prevue fecha_cierre_prevista fecha_cierre_estimada"
        ),
    },
    "transactions": {
        "customer_id": words_of(
            "customer_id customer customer_no customer_number customer_key client client_id user user_id buyer "
            "buyer_id member member_id account account_id kunde kunden_id kunden_nr kundennummer kundennr client_no "
            "acheteur cliente cliente_id id_cliente comprador"
        ),
        "occurred_at": words_of(
            "occurred_at order_date ordered_at purchase_date purchased_at transaction_date invoice_date sale_date "
            "sold_at paid_at payment_date date timestamp datetime date_time time created_at created bestelldatum "
            "bestellt_am kaufdatum rechnungsdatum datum zeitpunkt date_commande date_achat fecha_pedido "
            "fecha_compra fecha"
        ),
        "recorded_at": words_of("recorded_at booked_at inserted_at erfasst_am gebucht_am saisi_le registrado_el"),
        "kind": words_of("kind type transaction_type order_type art typ tipo"),
        "amount": words_of(
            "amount total total_amount total_price order_total order_amount order_value grand_total revenue sales "
            "price value net_amount gross_amount betrag gesamtbetrag summe umsatz preis wert montant prix_total prix "
            "monto importe precio"
        ),
        "cost": words_of("cost costs cost_price kosten einstandspreis cout coste costo"),
        "discount": words_of("discount discount_amount rebate rabatt nachlass remise descuento"),
        "quantity": words_of("quantity qty units items pieces menge anzahl stuckzahl quantite cantidad unidades"),
        "currency": words_of("currency currency_code wahrung devise moneda"),
        "product": words_of(
            "product product_id product_name sku item item_id article artikel artikelnummer produkt produit articulo "
            "producto"
        ),
        "channel": words_of("channel sales_channel store shop kanal filiale canal tienda magasin"),
    },
    "changes": {
        "column_name": words_of(
            "column_name column field field_name property property_name attribute feld spalte champ campo"
        ),
        "value": words_of("value new_value to to_value new neuer_wert neu nach nouvelle_valeur nuevo_valor"),
        "changed_at": words_of(
            "changed_at change_date changed_on timestamp date time modified_at created_at created_date geandert_am "
            "datum zeitpunkt modifie_le fecha"
        ),
    },
}  # fmt: skip
"""Names of source columns by contract table and column, the best first. Keys and references are found by the data."""

OUTCOME_NAMES = frozenset(
    words_of(
        "converted is_converted conversion convert has_converted outcome target label won is_won sold is_sold bought "
        "purchased has_purchased success successful is_success result win became_customer is_customer y ergebnis ziel "
        "zielvariable gewonnen konvertiert gekauft verkauft abgeschlossen abschluss erfolg erfolgreich kunde_geworden "
        "converti vendu gagne achete resultat convertido ganado vendido comprado resultado"
    )
)
"""Names of columns that tell how a lead ended, in a set without times."""

CONTACT_NAMES = frozenset(
    words_of(
        "email e_mail mail phone telephone mobile cell fax tel first_name last_name firstname lastname full_name name "
        "street address birthday birth_date date_of_birth vorname nachname strasse adresse telefon handy mobil prenom "
        "nom rue courriel nombre apellido apellidos direccion telefono correo contact_name kontaktname iban "
        "phone_number mobile_phone mobile_phone_number geburtsdatum geburtstag date_de_naissance fecha_nacimiento "
        "fecha_de_nacimiento phones emails person_name recipient full_address"
    )
)
"""Names of columns with contact data of leads."""

TEXT_NAMES = frozenset(
    words_of(
        "note notes comment comments description body message text content subject bemerkung bemerkungen kommentar "
        "beschreibung notiz notizen betreff inhalt nachricht commentaire remarque objet comentario descripcion asunto"
    )
)
"""Names of columns with free text."""

_WON = phrases(
    "won, win, is won, closed won, closedwon, won deal, deal won, success, successful, signed, contract signed, sold, "
    "accepted, converted, gewonnen, zusage, beauftragt, auftrag erteilt, auftrag erhalten, verkauft, angenommen, "
    "unterschrieben, abgeschlossen gewonnen, gagne, gagnee, remporte, remportee, signe, signee, vendu, accepte, "
    "conclu, ganado, ganada, vendido, cerrado ganado, cerrada ganada, aceptado, firmado"
)  # fmt: skip

_LOST = phrases(
    "lost, loss, closed lost, closedlost, deal lost, failed, rejected, declined, refused, disqualified, unqualified, "
    "junk, spam, dead, not interested, verloren, absage, abgesagt, abgelehnt, kein interesse, perdu, refuse, rejete, "
    "perdido, perdida, rechazado, rechazada, cerrado perdido"
)  # fmt: skip

_CANCELLED = phrases(
    "cancelled, canceled, withdrawn, abandoned, void, deleted, expired, storniert, zuruckgezogen, abgebrochen, annule, "
    "annulee, abandonne, cancelado, cancelada, anulado"
)  # fmt: skip

_OPEN = phrases(
    "open, new, pending, in progress, proposed, proposal, proposal sent, sent, qualified, qualification, prospecting, "
    "engaging, negotiation, negotiating, contacted, discovery, demo, draft, on hold, active, offen, neu, in "
    "bearbeitung, in verhandlung, verhandlung, angebot, angebot versendet, angebot gesendet, erstkontakt, "
    "qualifiziert, wartend, ouvert, ouverte, nouveau, nouvelle, en cours, devis envoye, negociation, abierto, abierta, "
    "nuevo, nueva, en curso, en proceso, propuesta, negociacion"
)  # fmt: skip

_TYPES: Mapping[str, Sequence[str]] = {
    "call": phrases(
        "call, calls, phone, phone call, telephone, calling, voicemail, outbound call, inbound call, incoming call, "
        "outgoing call, cold call, missed call, anruf, telefonat, telefon, appel, appel telephonique, llamada"
    ),
    "email": phrases(
        "email, emails, e-mail, mail, newsletter, incoming email, outgoing email, email sent, email received, "
        "courriel, correo, correo electronico"
    ),
    "sms": phrases("sms, text, text message, message, whatsapp, chat message, nachricht, mensaje"),
    "meeting": phrases(
        "meeting, meetings, visit, video call, demo, appointment, lunch, besprechung, termin, besuch, treffen, "
        "reunion, rendez-vous, rdv, visite, cita, visita"
    ),
    "web": phrases(
        "web, website, web form, form, form submission, chat, page view, download, webseite, formular, "
        "kontaktformular, formulaire, site web, formulario, sitio web"
    ),
    "proposal": phrases("proposal, offer, quote, quotation, angebot, devis, offre, oferta, presupuesto"),
    "note": phrases(
        "note, notes, comment, memo, task, to do, todo, reminder, notiz, aufgabe, bemerkung, tache, remarque, nota, "
        "tarea"
    ),
}  # fmt: skip

_DIRECTIONS: Mapping[str, Sequence[str]] = {
    "inbound": phrases(
        "inbound, in, incoming, received, incoming email, eingehend, ein, eingang, entrant, recu, entrante, recibido, "
        "from lead, customer"
    ),
    "outbound": phrases(
        "outbound, out, outgoing, sent, email, ausgehend, aus, ausgang, sortant, envoye, saliente, enviado, to lead, "
        "rep"
    ),
    "internal": phrases("internal, none, system, intern, interne, interno"),
}  # fmt: skip

_APPOINTMENTS: Mapping[str, Sequence[str]] = {
    "completed": phrases(
        "completed, complete, done, held, kept, attended, finished, took place, true, 1, yes, t, y, stattgefunden, "
        "erledigt, durchgefuhrt, wahrgenommen, ja, termine, effectue, honore, oui, realizada, realizado, completado, "
        "si"
    ),
    "scheduled": phrases(
        "scheduled, planned, booked, pending, confirmed, upcoming, open, false, 0, no, f, n, geplant, gebucht, "
        "bestatigt, offen, nein, prevu, planifie, confirme, non, programada, programado, confirmada, pendiente"
    ),
    "no_show": phrases(
        "no show, noshow, missed, did not attend, nicht erschienen, verpasst, absent, non honore, no asistio"
    ),
    "cancelled": phrases(
        "cancelled, canceled, cancelled by lead, abgesagt, storniert, annule, annulee, cancelada, cancelado"
    ),
    "rescheduled": phrases("rescheduled, moved, postponed, verschoben, reporte, reportee, reprogramada, aplazada"),
}  # fmt: skip

YES = ("true", "1", "yes", "t", "y", "ja", "oui", "si", "wahr", "vrai", "verdadero", "x", "1.0")
NO = ("false", "0", "no", "f", "n", "nein", "non", "falsch", "faux", "falso", "0.0")

WORDS: Mapping[tuple[str, str], Mapping[str, Sequence[str]]] = {
    ("projects", "status"): {"won": _WON, "lost": _LOST, "cancelled": _CANCELLED, "open": _OPEN},
    ("interactions", "type"): _TYPES,
    ("interactions", "direction"): _DIRECTIONS,
    ("appointments", "status"): _APPOINTMENTS,
    ("transactions", "kind"): {
        "purchase": phrases(
            "purchase, order, sale, sold, invoice, kauf, bestellung, verkauf, rechnung, achat, compra, venta"
        ),
        "refund": phrases(
            "refund, return, returned, credit note, retoure, gutschrift, ruckerstattung, avoir, reembolso"
        ),
        "payment": phrases("payment, paid, zahlung, paiement, pago"),
        "chargeback": phrases("chargeback, dispute, ruckbuchung, ruckbelastung, contracargo"),
    },
    ("changes", "column_name"): {
        "status": phrases("status, stage, lead status, lifecycle stage"),
        "assigned_to": phrases("assigned to, owner, owner id, bearbeiter"),
        "property_value": ("property value", "budget"),
        "zip_code": phrases("zip code, zip, postal code, plz"),
    },
}
"""Words of sources by the word of the contract that they stand for, by contract table and column."""

ENDING_WORDS = frozenset(
    map(
        spoken,
        (*_LOST, *_CANCELLED, *phrases(
            "bad timing, duplicate, archived, closed, do not call, do not contact, no interest, wrong number, "
            "opted out, unsubscribed, unqualifiziert, ungultig, disqualifiziert, kein bedarf, falsche nummer, "
            "pas interesse, pas d interet, no interesado, no interesada"
        )),
    )
)  # fmt: skip
"""Statuses of a lead after which nobody works on it, as `spoken` writes them."""

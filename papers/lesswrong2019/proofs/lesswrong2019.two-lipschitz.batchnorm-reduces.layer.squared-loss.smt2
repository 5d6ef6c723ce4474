(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun gamma () Real)
(declare-fun d_4 () Real)
(declare-fun d_3 () Real)
(declare-fun d_2 () Real)
(declare-fun d_1 () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (* g_3 g_3))))
(assert
 (let ((?x800 (* (- 1.0) g_3 g_3 g_3 g_3)))
 (let ((?x295 (+ (* 2.0 gamma gamma g_3 g_3) (* (- 1.0) gamma g_2 g_3 g_3) ?x800)))
 (let (($x383 (< 0.0 (+ (* (- 2.0) gamma gamma) (* gamma g_2) (* g_3 g_3)))))
 (let (($x450 (and (< 0.0 (+ (* (- 1.0) gamma g_2) (* g_3 g_3))) (<= 0.0 (+ (* gamma g_2 g_3 g_3) ?x800)))))
 (let ((?x266 (* (- 1.0) gamma gamma d_2 d_2)))
 (let ((?x298 (* (- 1.0) gamma gamma d_1 d_1)))
 (let ((?x457 (+ ?x298 ?x266 (* 2.0 gamma g_3 d_2 d_3) (* (- 2.0) gamma gamma d_3 d_3) (* gamma g_2 d_3 d_3) (* (- 2.0) gamma gamma d_4 d_4) (* gamma g_2 d_4 d_4))))
 (let ((?x250 (* (- 1.0) g_3 g_3)))
 (let ((?x588 (* (- 1.0) gamma g_2)))
 (let (($x396 (and (<= 0.0 (+ (* 2.0 gamma gamma) ?x588 ?x250)) (< 0.0 ?x457))))
 (let ((?x125 (+ ?x298 ?x266 (* (- 2.0) gamma g_3 d_2 d_3) (* (- 1.0) gamma g_2 d_3 d_3) (* (- 1.0) gamma g_2 d_4 d_4))))
 (or (and (<= 0.0 (+ (* gamma g_2) ?x250)) (< 0.0 ?x125)) $x396 $x450 (and $x383 (<= 0.0 ?x295)))))))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 d_4))
(assert
 (let ((?x8 (+ m (- 3.0))))
(<= 0.0 ?x8)))
(check-sat)

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
 (let ((?x127 (* (- 1.0) g_3 g_3 g_3 g_3)))
 (let ((?x812 (+ (* 2.0 gamma gamma g_3 g_3) (* (- 1.0) gamma g_2 g_3 g_3) ?x127)))
 (let (($x531 (< 0.0 (+ (* (- 2.0) gamma gamma) (* gamma g_2) (* g_3 g_3)))))
 (let (($x838 (and (< 0.0 (+ (* (- 1.0) gamma g_2) (* g_3 g_3))) (<= 0.0 (+ (* gamma g_2 g_3 g_3) ?x127)))))
 (let ((?x94 (* (- 1.0) gamma gamma d_2 d_2)))
 (let ((?x672 (* (- 1.0) gamma gamma d_1 d_1)))
 (let ((?x131 (+ ?x672 ?x94 (* 2.0 gamma g_3 d_2 d_3) (* (- 2.0) gamma gamma d_3 d_3) (* gamma g_2 d_3 d_3) (* (- 2.0) gamma gamma d_4 d_4) (* gamma g_2 d_4 d_4))))
 (let ((?x786 (* (- 1.0) g_3 g_3)))
 (let ((?x158 (* (- 1.0) gamma g_2)))
 (let (($x667 (and (<= 0.0 (+ (* 2.0 gamma gamma) ?x158 ?x786)) (< 0.0 ?x131))))
 (let ((?x815 (+ ?x672 ?x94 (* (- 2.0) gamma g_3 d_2 d_3) (* (- 1.0) gamma g_2 d_3 d_3) (* (- 1.0) gamma g_2 d_4 d_4))))
 (or (and (<= 0.0 (+ (* gamma g_2) ?x786)) (< 0.0 ?x815)) $x667 $x838 (and $x531 (<= 0.0 ?x812)))))))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 d_4))
(assert
 (let ((?x535 (+ m (- 3.0))))
(<= 0.0 ?x535)))
(check-sat)
